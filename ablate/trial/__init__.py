"""One attempt of a row in a worker: a finetuning, or a custom training loop."""
