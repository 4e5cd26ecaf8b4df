"""Finetuning: a study's parameters and seeds become the weights of a network."""
