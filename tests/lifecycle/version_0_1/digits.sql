BEGIN TRANSACTION;
CREATE TABLE ablate_lease (study_id INTEGER PRIMARY KEY, token VARCHAR(32), holder TEXT, since DOUBLE PRECISION, renewed DOUBLE PRECISION);
INSERT INTO "ablate_lease" VALUES(1,NULL,'{"host": "laptop", "boot": "another", "namespace": "pid:[4026531836]", "pid": 20194, "start": "577524"}',1.7e+09,1.7e+09);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'digits');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MAXIMIZE',1,1);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["val_clean_accuracy", "val_robust_accuracy"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'ablate:head','{"format": 2, "identity": "39d4ce7e", "study": {"version": 1, "name": "digits", "question": "Does DA, ST or FMA help on digits?", "trainable": null, "dataset": {"name": "digits", "path": null, "download": false, "image_size": null, "resize": null, "loading": "resident", "loading_workers": 2, "crop_scale": null, "crop_padding": 0, "horizontal_flip": false, "train_fraction": 1.0, "unlabeled": null, "validation": {"fraction": 0.2, "seed": 0, "path": null}}, "model": {"name": "resnet8", "normalization": "auto"}, "baseline": {"batch_size": 64, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0005, "schedule": "cosine", "warmup_fraction": 0.0, "gradient_clipping": null, "accumulation_steps": 1, "ema_decay": null, "seed": 0, "epochs": 1, "checkpoint": null, "saw_validation": null}, "finetune": {"batch_size": 128, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "schedule": "cosine", "warmup_fraction": 0.0, "gradient_clipping": null, "accumulation_steps": 1, "ema_decay": null, "seed": 0, "budget": {"epochs": 1, "images": null, "flops": null, "seconds": null}, "batch_norm": "joint"}, "loss": {"terms": "clean+fma", "teacher_decay": 0.99, "clean": {"weight": 1.0}, "da": {"weight": 1.0}, "st": {"weight": 1.0, "form": "cross_entropy", "anchor": "both", "temperature": 1.0}, "fma": {"weight": 1.0, "scale": "value", "layers": "taps", "layer_weights": "uniform", "distance": "relative", "anchor": "clean", "activation": "after"}}, "augment": {"method": "per_sample", "families": ["noise", "blur", "photometric"], "types": null, "mix": null, "strength": 1.0, "strengths": {}, "clean_fraction": 0.0, "copies": 1, "depth": 3, "augmix": {"chains": 3, "depth": 0, "severity": 3.0, "dirichlet": 1.0, "beta": 1.0, "operators": "disjoint"}}, "space": {"loss.terms": {"choice": ["clean+da", "clean+st", "clean+fma"]}, "loss.fma.weight": {"float": [0.01, 30], "log": true, "when": {"loss.terms": {"contains": "fma"}}}}, "objectives": [{"metric": "val_clean_accuracy", "direction": "maximize"}, {"metric": "val_robust_accuracy", "direction": "maximize"}], "search": {"trials": 4, "budget": {"trials": null, "gpu_hours": null, "seconds": null}, "sampler": "random", "seed": 1, "enqueue": [], "pruner": null, "reference_point": null}, "ablation": null, "robustness": {"suite": ["contrast", "gaussian_noise"], "severities": [3], "images": null, "frost_images": null, "stored_gb": 4.0, "seed": 0}, "run": {"parallel": "auto", "cpus_per_trial": 1, "gpus_per_trial": "auto", "gpu_memory_fraction": null, "precision": "auto", "compile": false, "max_failures": 0, "max_failed_fraction": 0.5, "checkpoints": null, "keep_checkpoints": 50, "grace_seconds": 60.0}, "storage": null}, "text": "version: 1\nname: digits\nquestion: Does DA, ST or FMA help on digits?\ndataset: {name: digits, validation: {fraction: 0.2}}\nmodel: {name: resnet8}\nbaseline: {epochs: 1}\nfinetune: {budget: {epochs: 1}, batch_size: 128}\nrobustness: {suite: [contrast, gaussian_noise], severities: [3]}\nspace:\n  loss.terms: {choice: [clean+da, clean+st, clean+fma]}\n  loss.fma.weight: {float: [0.01, 30], log: true, when: {loss.terms: {contains: fma}}}\nsearch: {trials: 4, sampler: random, seed: 1}\n", "space": {"parameters": [{"key": "loss.terms", "domain": "choice", "choices": ["clean+da", "clean+st", "clean+fma"], "when": []}, {"key": "loss.fma.weight", "domain": "float", "low": 0.01, "high": 30.0, "log": true, "step": null, "when": [{"key": "loss.terms", "operator": "contains", "operand": "fma"}]}], "fixed": {}}, "base": "@FOLDER@", "fingerprint": {"dataset": "bb177cd2cf34be9b25c474b8f2946dfb0b18fc9910cb3fa9315e5787e7178353", "model": "a062239b1b4e702093996e73e08e15842e304e974700c6558aa0be8f66780387", "baseline": "6e16c612bd18a438d3b18915dd6d1b42423e7a3fbcd28a55faf5fbf0394588af", "finetune": "69ef53d4d3ac8731647d96123e7a6968ac75e487cce085ab5524cfb273908533", "loss": "602aba125aa77c5254c42b6d9782e389813106bad13ffbec5988ecc3945a1392", "augment": "9d6484e4f4e6df133b56517f70b99cfe4c619068b4c1ad1e6be846f1359d0091", "objectives": "e0a729eb5cc638a73e433c0895e951ced2d1a3b1e68e785d3727e73ceea0180d", "robustness": "82ef1b7ebf383f21e772b18f35b34fbd37a1747da6095fd1f257e9fa593541a1", "space": "612f834ba0bd6084e7c89b4f0d5bfd1693c6dbfbb47ca9761055e88761cc0e16", "data": "5c3d640a2ba15a966e494fd0e0451930131c4f47e2f0539d63db6c2db502bdc4"}, "baseline_sha256": "0e70758873258929a57a852137994150400cfbb312e28252fd3b3c58c53326b8", "environment": {"device": "cpu", "precision": "bf16", "threads": 1, "torch": "2.13.0+cpu", "device_name": "x86_64 AVX512", "compile": false}, "reference_point": [0.08815331010452962, 0.15156794425087108], "design": null, "test": null, "parent": null}');
INSERT INTO "study_user_attributes" VALUES(2,1,'ablate:trials','4');
INSERT INTO "study_user_attributes" VALUES(3,1,'ablate:references','{"baseline": {"split": "val", "n_images": 287, "clean_accuracy": 0.18815331010452963, "accuracies": {"gaussian_noise": {"3": 0.20557491289198607}, "contrast": {"3": 0.0975609756097561}}, "families": {"noise": ["gaussian_noise"], "digital": ["contrast"]}, "seen_types": [], "epochs": 0, "student_images": 0, "train_seconds": 1.3100979760001792, "teacher_images": 0, "train_flops": 0, "exposure": {"gaussian_noise": "unseen", "contrast": "unseen"}, "mean_over": "types", "n_corrupted": 287}, "plain": {"split": "val", "n_images": 287, "clean_accuracy": 0.41114982578397213, "accuracies": {"gaussian_noise": {"3": 0.3902439024390244}, "contrast": {"3": 0.0975609756097561}}, "families": {"noise": ["gaussian_noise"], "digital": ["contrast"]}, "seen_types": [], "epochs": 1, "student_images": 1024, "train_seconds": 1.1088640139996642, "teacher_images": 0, "train_flops": 75904057344, "exposure": {"gaussian_noise": "unseen", "contrast": "unseen"}, "mean_over": "types", "n_corrupted": 287}}');
INSERT INTO "study_user_attributes" VALUES(4,1,'ablate:drives','[{"started": 1795671320.3915005, "host": "laptop", "pid": 20194, "ended": 1795671336.9355862, "end": "finished", "parallel": 1, "gpus_per_trial": 0.0, "checkpoints": "@FOLDER@/runs/digits/checkpoints/39d4ce7e", "provenance": {"python": "3.11.7", "platform": "Linux", "packages": {"ablate": "0.1.0", "torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu", "optuna": "5.0.0", "ray": "2.60.0", "numpy": "2.4.6", "timm": "1.0.31"}, "git": null}}]');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'loss.terms',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["clean+da", "clean+st", "clean+fma"]}}');
INSERT INTO "trial_params" VALUES(2,2,'loss.terms',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["clean+da", "clean+st", "clean+fma"]}}');
INSERT INTO "trial_params" VALUES(3,3,'loss.terms',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["clean+da", "clean+st", "clean+fma"]}}');
INSERT INTO "trial_params" VALUES(4,3,'loss.fma.weight',1.08550792790690442e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.01, "high": 30.0, "log": true}}');
INSERT INTO "trial_params" VALUES(5,4,'loss.terms',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["clean+da", "clean+st", "clean+fma"]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"loss.terms": "clean+st"}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(2,1,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 1, "train_loss": 4.26598858833313, "seconds": 3.229882982000163, "images": 2048}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671321.855771, "ended": 1795671325.383926, "end": "complete", "host": "laptop", "pid": 20194, "epochs": 1, "peak_memory_bytes": 753012736}]}');
INSERT INTO "trial_user_attributes" VALUES(3,1,'ablate:scores','{"split": "val", "n_images": 287, "clean_accuracy": 0.3797909407665505, "accuracies": {"gaussian_noise": {"3": 0.37282229965156793}, "contrast": {"3": 0.0975609756097561}}, "families": {"noise": ["gaussian_noise"], "digital": ["contrast"]}, "seen_types": ["gaussian_noise", "impulse_noise", "gaussian_blur", "brightness", "contrast", "saturation"], "epochs": 1, "student_images": 2048, "train_seconds": 3.229882982000163, "teacher_images": 0, "train_flops": 151808114688, "exposure": {"gaussian_noise": "seen_type", "contrast": "seen_type"}, "mean_over": "types", "n_corrupted": 287}');
INSERT INTO "trial_user_attributes" VALUES(4,2,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"loss.terms": "clean+st"}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(5,2,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 1, "train_loss": 4.26598858833313, "seconds": 3.5362597559997084, "images": 2048}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671325.4187717, "ended": 1795671329.4177732, "end": "complete", "host": "laptop", "pid": 20194, "epochs": 1, "peak_memory_bytes": 754143232}]}');
INSERT INTO "trial_user_attributes" VALUES(6,2,'ablate:scores','{"split": "val", "n_images": 287, "clean_accuracy": 0.3797909407665505, "accuracies": {"gaussian_noise": {"3": 0.37282229965156793}, "contrast": {"3": 0.0975609756097561}}, "families": {"noise": ["gaussian_noise"], "digital": ["contrast"]}, "seen_types": ["gaussian_noise", "impulse_noise", "gaussian_blur", "brightness", "contrast", "saturation"], "epochs": 1, "student_images": 2048, "train_seconds": 3.5362597559997084, "teacher_images": 0, "train_flops": 151808114688, "exposure": {"gaussian_noise": "seen_type", "contrast": "seen_type"}, "mean_over": "types", "n_corrupted": 287}');
INSERT INTO "trial_user_attributes" VALUES(7,3,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"loss.terms": "clean+fma", "loss.fma.weight": 1.0855079279069044}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(8,3,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 1, "train_loss": 2.3526269793510437, "seconds": 3.9359239909999815, "images": 2048}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671329.4321282, "ended": 1795671333.7226484, "end": "complete", "host": "laptop", "pid": 20194, "epochs": 1, "peak_memory_bytes": 754536448}]}');
INSERT INTO "trial_user_attributes" VALUES(9,3,'ablate:scores','{"split": "val", "n_images": 287, "clean_accuracy": 0.34494773519163763, "accuracies": {"gaussian_noise": {"3": 0.3693379790940767}, "contrast": {"3": 0.0975609756097561}}, "families": {"noise": ["gaussian_noise"], "digital": ["contrast"]}, "seen_types": ["gaussian_noise", "impulse_noise", "gaussian_blur", "brightness", "contrast", "saturation"], "epochs": 1, "student_images": 2048, "train_seconds": 3.9359239909999815, "teacher_images": 0, "train_flops": 151808114688, "exposure": {"gaussian_noise": "seen_type", "contrast": "seen_type"}, "mean_over": "types", "n_corrupted": 287}');
INSERT INTO "trial_user_attributes" VALUES(10,4,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"loss.terms": "clean+st"}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(11,4,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 1, "train_loss": 4.26598858833313, "seconds": 2.957408912999199, "images": 2048}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671333.7342887, "ended": 1795671336.930788, "end": "complete", "host": "laptop", "pid": 20194, "epochs": 1, "peak_memory_bytes": 754597888}]}');
INSERT INTO "trial_user_attributes" VALUES(12,4,'ablate:scores','{"split": "val", "n_images": 287, "clean_accuracy": 0.3797909407665505, "accuracies": {"gaussian_noise": {"3": 0.37282229965156793}, "contrast": {"3": 0.0975609756097561}}, "families": {"noise": ["gaussian_noise"], "digital": ["contrast"]}, "seen_types": ["gaussian_noise", "impulse_noise", "gaussian_blur", "brightness", "contrast", "saturation"], "epochs": 1, "student_images": 2048, "train_seconds": 2.957408912999199, "teacher_images": 0, "train_flops": 151808114688, "exposure": {"gaussian_noise": "seen_type", "contrast": "seen_type"}, "mean_over": "types", "n_corrupted": 287}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,3.79790940766550511e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,2.35191637630662031e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,2,0,3.79790940766550511e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,1,2.35191637630662031e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,3,0,3.44947735191637627e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,3,1,2.33449477351916401e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,4,0,3.79790940766550511e-01,'FINITE');
INSERT INTO "trial_values" VALUES(8,4,1,2.35191637630662031e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 05:35:21.853495','2026-11-26 05:35:25.385490');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 05:35:25.414060','2026-11-26 05:35:29.418965');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-26 05:35:29.422711','2026-11-26 05:35:33.724247');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-26 05:35:33.729771','2026-11-26 05:35:36.932192');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
