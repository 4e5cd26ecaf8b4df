BEGIN TRANSACTION;
CREATE TABLE ablate_lease (study_id INTEGER PRIMARY KEY, token VARCHAR(32), holder TEXT, since DOUBLE PRECISION, renewed DOUBLE PRECISION);
INSERT INTO "ablate_lease" VALUES(1,'d6d1a4195bd84059bbe500c216f53b45','{"host": "laptop", "boot": "another", "namespace": "pid:[4026531836]", "pid": 21571, "start": "581922"}',1.7e+09,1.7e+09);
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
INSERT INTO "studies" VALUES(1,'own');
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
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',1,1);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["accuracy", "cost"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'ablate:head','{"format": 2, "identity": "2a12f32a", "study": {"version": 1, "name": "own", "question": "Which learning rate is best?", "trainable": "loop01:train", "dataset": {"name": "none", "path": null, "download": false, "image_size": null, "resize": null, "loading": "resident", "loading_workers": 2, "crop_scale": null, "crop_padding": 0, "horizontal_flip": false, "train_fraction": 1.0, "unlabeled": null, "validation": {"fraction": 0.1, "seed": 0, "path": null}}, "model": {"name": "none", "normalization": "auto"}, "baseline": {"batch_size": 64, "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0005, "schedule": "cosine", "warmup_fraction": 0.0, "gradient_clipping": null, "accumulation_steps": 1, "ema_decay": null, "seed": 0, "epochs": 10, "checkpoint": null, "saw_validation": null}, "finetune": {"batch_size": 64, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0005, "schedule": "cosine", "warmup_fraction": 0.0, "gradient_clipping": null, "accumulation_steps": 1, "ema_decay": null, "seed": 0, "budget": {"epochs": 4, "images": null, "flops": null, "seconds": null}, "batch_norm": "joint"}, "loss": {"terms": "clean+fma", "teacher_decay": 0.99, "clean": {"weight": 1.0}, "da": {"weight": 1.0}, "st": {"weight": 1.0, "form": "cross_entropy", "anchor": "both", "temperature": 1.0}, "fma": {"weight": 1.0, "scale": "value", "layers": "taps", "layer_weights": "uniform", "distance": "relative", "anchor": "clean", "activation": "after"}}, "augment": {"method": "per_sample", "families": ["noise", "blur", "photometric"], "types": null, "mix": null, "strength": 1.0, "strengths": {}, "clean_fraction": 0.0, "copies": 1, "depth": 3, "augmix": {"chains": 3, "depth": 0, "severity": 3.0, "dirichlet": 1.0, "beta": 1.0, "operators": "disjoint"}}, "space": {"lr": {"float": [0.1, 1.0], "log": true}, "width": {"choice": [8, 16]}}, "objectives": [{"metric": "accuracy", "direction": "maximize"}, {"metric": "cost", "direction": "minimize"}], "search": {"trials": 6, "budget": {"trials": null, "gpu_hours": null, "seconds": null}, "sampler": "tpe", "seed": 3, "enqueue": [], "pruner": null, "reference_point": null}, "ablation": null, "robustness": {"suite": "families", "severities": [1, 3, 5], "images": null, "frost_images": null, "stored_gb": 4.0, "seed": 0}, "run": {"parallel": "auto", "cpus_per_trial": 1, "gpus_per_trial": "auto", "gpu_memory_fraction": null, "precision": "auto", "compile": false, "max_failures": 0, "max_failed_fraction": 0.5, "checkpoints": null, "keep_checkpoints": 50, "grace_seconds": 60.0}, "storage": null}, "text": "version: 1\nname: own\nquestion: Which learning rate is best?\ntrainable: loop01:train\nfinetune: {budget: {epochs: 4}}\nspace: {lr: {float: [0.1, 1.0], log: true}, width: {choice: [8, 16]}}\nobjectives: [{metric: accuracy}, {metric: cost, direction: minimize}]\nsearch: {trials: 6, sampler: tpe, seed: 3}\n", "space": {"parameters": [{"key": "lr", "domain": "float", "low": 0.1, "high": 1.0, "log": true, "step": null, "when": []}, {"key": "width", "domain": "choice", "choices": [8, 16], "when": []}], "fixed": {}}, "base": "@FOLDER@", "fingerprint": {"trainable": "8b188bbc05570b1cf68f10891aff43fbc0a19c211cc2d8e979bedf41ba2214a7", "finetune": "0288bd2bc16cfa94b334f74e97b9f8273e96ec4394580236dd248ad1cb03dc0e", "objectives": "a323db6a311bc305b5bd3e841a9de5a206e6c5ef2c05422e91a6ebaffa2af150", "space": "e45a271bc93eedf5a1be8f06abc9546d252ce1afe516d53c3bfb0fc37f219fa8", "data": "12ae32cb1ec02d01eda3581b127c1fee3b0dc53572ed6baf239721a03d82e126"}, "baseline_sha256": "", "environment": {"python": "3.11.7", "code": "dd21b3e9f8a8543b8c777ca122314b6f3ab156890c62e643a2eb736916c24440"}, "reference_point": null, "design": null, "test": null, "parent": null}');
INSERT INTO "study_user_attributes" VALUES(2,1,'ablate:trials','6');
INSERT INTO "study_user_attributes" VALUES(3,1,'ablate:drives','[{"started": 1795671357.2240622, "host": "laptop", "pid": 21571, "ended": null, "end": null, "parallel": 1, "gpus_per_trial": 0.0, "checkpoints": "@FOLDER@/runs/own/checkpoints/2a12f32a", "provenance": {"python": "3.11.7", "platform": "Linux", "packages": {"ablate": "0.1.0", "torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu", "optuna": "5.0.0", "ray": "2.60.0", "numpy": "2.4.6", "timm": "1.0.31"}, "git": null}}]');
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
INSERT INTO "trial_params" VALUES(1,1,'lr',4.53405998675964094e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(3,2,'lr',6.67486210773279076e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(4,2,'width',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(5,3,'lr',3.0319673411129111e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(6,3,'width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
INSERT INTO "trial_params" VALUES(7,4,'lr',1.70555037707784712e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.1, "high": 1.0, "log": true}}');
INSERT INTO "trial_params" VALUES(8,4,'width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8, 16]}}');
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
INSERT INTO "trial_user_attributes" VALUES(1,1,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"lr": 0.4534059986759641, "width": 16}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(2,1,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 4, "seconds": 0.050254199999471894, "scores": {"accuracy": 0.7944230003646516, "cost": 0.4534059986759641}}, {"epoch": 2, "epochs": 4, "seconds": 0.05175467200024286, "scores": {"accuracy": 0.8972115001823258, "cost": 0.9068119973519282}}, {"epoch": 3, "epochs": 4, "seconds": 0.05779968400020152, "scores": {"accuracy": 0.9314743334548838, "cost": 1.3602179960278922}}, {"epoch": 4, "epochs": 4, "seconds": 0.05022197100061021, "scores": {"accuracy": 0.9486057500911629, "cost": 1.8136239947038564}}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671357.287149, "ended": 1795671357.4986415, "end": "complete", "host": "laptop", "pid": 21571, "epochs": 4, "peak_memory_bytes": 105496576}]}');
INSERT INTO "trial_user_attributes" VALUES(3,1,'ablate:scores','{"reported": {"accuracy": 0.9486057500911629, "cost": 1.8136239947038564}}');
INSERT INTO "trial_user_attributes" VALUES(4,2,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"lr": 0.6674862107732791, "width": 16}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(5,2,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 4, "seconds": 0.05022562700014532, "scores": {"accuracy": 0.5544621584275297, "cost": 0.6674862107732791}}, {"epoch": 2, "epochs": 4, "seconds": 0.057962535999649845, "scores": {"accuracy": 0.7772310792137649, "cost": 1.3349724215465582}}, {"epoch": 3, "epochs": 4, "seconds": 0.05025945800025511, "scores": {"accuracy": 0.8514873861425099, "cost": 2.0024586323198372}}, {"epoch": 4, "epochs": 4, "seconds": 0.05171662499924423, "scores": {"accuracy": 0.8886155396068824, "cost": 2.6699448430931163}}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671357.5695002, "ended": 1795671357.7807763, "end": "complete", "host": "laptop", "pid": 21571, "epochs": 4, "peak_memory_bytes": 107126784}]}');
INSERT INTO "trial_user_attributes" VALUES(6,2,'ablate:scores','{"reported": {"accuracy": 0.8886155396068824, "cost": 2.6699448430931163}}');
INSERT INTO "trial_user_attributes" VALUES(7,3,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"lr": 0.3031967341112911, "width": 8}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(8,3,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 4, "seconds": 0.050252738000381214, "scores": {"accuracy": 0.9080717404242471, "cost": 0.3031967341112911}}, {"epoch": 2, "epochs": 4, "seconds": 0.05163802800052508, "scores": {"accuracy": 0.9540358702121235, "cost": 0.6063934682225822}}, {"epoch": 3, "epochs": 4, "seconds": 0.05162471799940249, "scores": {"accuracy": 0.9693572468080823, "cost": 0.9095902023338733}}, {"epoch": 4, "epochs": 4, "seconds": 0.051746920000368846, "scores": {"accuracy": 0.9770179351060617, "cost": 1.2127869364451644}}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671357.8159463, "ended": 1795671358.0222065, "end": "complete", "host": "laptop", "pid": 21571, "epochs": 4, "peak_memory_bytes": 107126784}]}');
INSERT INTO "trial_user_attributes" VALUES(9,3,'ablate:scores','{"reported": {"accuracy": 0.9770179351060617, "cost": 1.2127869364451644}}');
INSERT INTO "trial_user_attributes" VALUES(10,4,'ablate:row','{"attempt": 1, "failures": 0, "lost": 0, "params": {"lr": 0.1705550377077847, "width": 8}, "seeds": {"split": 0, "train": 0, "evaluation": 0}}');
INSERT INTO "trial_user_attributes" VALUES(11,4,'ablate:curve','{"curve": [{"epoch": 1, "epochs": 4, "seconds": 0.050329411000348045, "scores": {"accuracy": 0.9709109791124961, "cost": 0.1705550377077847}}], "checkpoints": [], "rungs": [], "attempts": [{"attempt": 1, "started": 1795671358.044062, "host": "laptop", "pid": 21571, "epochs": 1, "peak_memory_bytes": 107126784}]}');
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
INSERT INTO "trial_values" VALUES(1,1,0,9.4860575009116288e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,1,1,1.81362399470385637e+00,'FINITE');
INSERT INTO "trial_values" VALUES(3,2,0,8.88615539606882442e-01,'FINITE');
INSERT INTO "trial_values" VALUES(4,2,1,2.6699448430931163e+00,'FINITE');
INSERT INTO "trial_values" VALUES(5,3,0,9.77017935106061719e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,3,1,1.21278693644516444e+00,'FINITE');
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
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-26 05:35:57.276006','2026-11-26 05:35:57.500366');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-26 05:35:57.537664','2026-11-26 05:35:57.782110');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-26 05:35:57.812675','2026-11-26 05:35:58.024434');
INSERT INTO "trials" VALUES(4,3,1,'RUNNING','2026-11-26 05:35:58.029388',NULL);
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
