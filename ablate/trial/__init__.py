"""One attempt of a row in a worker: a finetuning, or a training loop of the user."""
