"""A secret as it may stand in a file, a log or a process: 30 ways and more to write it."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from urllib.parse import quote, quote_plus

import yaml


def spellings(secret: str) -> dict[str, str]:
    """Name of the spelling -> the text that is looked for; of base 64 the part that is its own."""
    data = secret.encode()
    code = [ord(one) for one in secret]
    found = {
        "as it is": secret,
        "URL": quote(secret, safe=""),
        "URL, / kept": quote(secret),
        "URL, + for a space": quote_plus(secret),
        "URL, small hex": re.sub("%..", lambda hit: hit[0].lower(), quote(secret, safe="")),
        "URL, every byte": "".join(f"%{byte:02X}" for byte in data),
        "URL, every byte, small": "".join(f"%{byte:02x}" for byte in data),
        "URL, twice": quote(quote(secret, safe=""), safe=""),
        "JSON": json.dumps(secret)[1:-1],
        "JSON, as UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON, every character": "".join(f"\\u{one:04x}" for one in code),
        "JSON, every character, capital": "".join(f"\\u{one:04X}" for one in code),
        "JSON in JSON": json.dumps(json.dumps(secret))[3:-3],
        "YAML": yaml.safe_dump(secret, width=1000).strip().removesuffix("\n...").strip("'\""),
        "YAML, in double quotes": yaml.safe_dump(secret, default_style='"', width=1000)[1:-2],
        "YAML, in single quotes": secret.replace("'", "''"),
        "YAML, every character": "".join(
            f"\\x{one:02x}" if one < 256 else f"\\u{one:04x}" for one in code
        ),
        "YAML, long": "".join(f"\\U{one:08x}" for one in code),
        "Python": repr(secret)[1:-1],
        "Python, ASCII": ascii(secret)[1:-1],
        "Python in JSON": json.dumps(repr(secret))[2:-2],
        "bytes": repr(data)[2:-1],
        "HTML": html.escape(secret),
        "HTML, quotes kept": html.escape(secret, quote=False),
        "HTML, numbers": "".join(f"&#{one};" for one in code),
        "HTML, hex": "".join(f"&#x{one:x};" for one in code),
        "shell": shlex.quote(secret)[1:-1],
        "hex": data.hex(),
        "HEX": data.hex().upper(),
    }
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        inner = encoded[(8 * before + 5) // 6 : 8 * (before + len(data)) // 6]
        found[f"base 64, {before} before"] = inner
        found[f"base 64 of URLs, {before} before"] = inner.replace("+", "-").replace("/", "_")
    return found
