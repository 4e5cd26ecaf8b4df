"""The sections of a study file, one file a subject; `ablate.study.settings` names them all."""
