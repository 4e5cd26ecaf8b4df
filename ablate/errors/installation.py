"""How this package is called on PyPI, and how its extras are installed."""

DISTRIBUTION = "ablate-robustness"
"""What pip installs.  The import and the command are `ablate`, a name that PyPI gave to another
package."""


def pip_install(extra: str) -> str:
    """The command that installs an extra of this package: "postgres", "images", ...

    Example:
        >>> from ablate.errors.installation import pip_install
        >>> pip_install("images")
        "pip install 'ablate-robustness[images]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"
