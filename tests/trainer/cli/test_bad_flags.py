"""Every bad value of a flag is named, in two lines, before TensorFlow."""

import pytest

from tests.support.flag_values import read
from trainer.errors import InvalidInput

BAD = """
--accumulate_steps=0
--accumulate_steps=3
--accumulate_steps=512
--accumulate_steps=4 --elastic_shards=2
--accumulate_steps=4 --sync_batch_norm
--augment=mirror
--augment=
--bias_scaler=0
--bias_scaler=nan
--checkpoint_every_steps=0
--checkpoint_every_steps=1.5
--clip_norm=0
--clip_norm=-1
--clip_norm=nan
--crop_pixels=-1
--crop_pixels=9
--crop_pixels=1.5
--crop_pixels=2 --augment=flip
--crop_pixels=2 --augment=resized_crop
--color_jitter=0
--color_jitter=1.5
--cutmix=0
--cutmix=nan
--mixup=-1
--mixup=0.2 --global_batch=1
--min_crop_area=0
--min_crop_area=0.5
--min_crop_area=0.5 --augment=crop
--randaugment_ops=0
--randaugment_ops=1.5
--randaugment_magnitude=11 --randaugment_ops=2
--randaugment_magnitude=5
--flip=alternating --augment=resized_crop
--data_dir=
--dataset=
--debug=maybe
--deterministic=2
--model_kwargs=dropout=1
--model_kwargs=dropout=-0.1
--model_kwargs=dropout
--model_kwargs=width=2,width=3
--model_kwargs==3
--model_kwargs=depth=3
--model_kwargs=dropout=true
--model_kwargs=width=1e999
--model_kwargs=sync_batch_norm=true --model=resnet8
--model_kwargs=dropout=nan
--dry_run=perhaps
--elastic_shards=0
--elastic_shards=-2
--elastic_shards=1.5
--elastic_shards=512
--elastic_shards=3
--elastic_shards=4 --sync_batch_norm
--elastic_shards=4 --nodeterministic
--model_kwargs=dropout=0.2 --model=speednet
--backbone_lr_multiplier=0
--backbone_lr_multiplier=nan
--freeze=backbone
--freeze=( --init_from=/nowhere.npz
--unfreeze_epoch=1
--unfreeze_epoch=0 --freeze=backbone
--unfreeze_epoch=1 --freeze=backbone --sync_batch_norm --model=resnet8
--init_from=
--init_from=/nowhere
--init_from=/nowhere.npz
--init_from=s3://bucket/weights.npz
--init_from=imagenet
--init_from=imagenet --model=resnet8
--ema_decay=1
--ema_decay=-0.1
--ema_decay=nan
--epochs=0
--epochs=-3
--epochs=nan
--epochs=inf
--epochs=ten
--eval_every_epochs=0
--eval_every_epochs=nan
--eval_tta=crop
--eval_tta=
--eval_tta
--flip=alternating --augment=crop
--flip=both
--global_batch=0
--global_batch=-8
--global_batch=12.5
--global_batch=3000000000
--grace_secs=0
--grace_secs=nan
--hang_secs=-1
--jit_compile=yess
--jit_compile
--keep_checkpoints=0
--label_smoothing=1
--label_smoothing=nan
--class_weight=-0.1
--class_weight=1.1
--learning_rate=0
--learning_rate=-1
--learning_rate=nan
--learning_rate=inf
--learning_rate=fast
--log_every_steps=0
--logical_devices=0 --strategy=mirrored
--logical_devices=65 --strategy=mirrored
--logical_devices=2
--logical_devices=2 --strategy=one_device
--model=no_such_model
--model_kwargs=whiten=false
--model_kwargs=whiten=1 --model=speednet
--model_kwargs=activation=gelu
--model_kwargs=activation=[ --model=speednet
--model_kwargs=activation=tanh --model=speednet
--model=CNN
--model_kwargs=width=0
--model_kwargs=width=nan
--model_kwargs=width=1000
--momentum=1 --optimizer=sgd
--momentum=nan --optimizer=sgd
--momentum=0.9
--optimizer=no_such_optimizer
--sgd_learning_rate=-1
--sgd_learning_rate=5
--sgd_learning_rate=inf
--precision=float8
--precision=bf16
--profile_steps=10
--profile_steps=20:10
--profile_steps=0:5
--profile_steps=1:5
--profile_steps=5:30 --train_steps=20
--profile_steps=a:b
--resume=perhaps
--resume=must
--run_dir=
--run_dir=runs/\udcff
--run_dir=gs://bucket/run
--runs_root=
--schedule=no_such_schedule
--seed=-1
--seed=2147483648
--seed=x
--progressive_fraction=0
--progressive_fraction=0.25
--progressive_fraction=1.5
--progressive_fraction=nan
--progressive_size=8
--progressive_size=half
--progressive_size=24 --sync_batch_norm
--steps_per_call=0
--strategy=horovod
--strategy=multi_worker
--strategy
--sync_batch_norm=1.0
--sync_batch_norm --model=cnn
--jit_compile --nodeterministic --sync_batch_norm
--teacher=
--teacher=/no/such/run
--teacher=gs://bucket/run
--teacher_temperature=0
--teacher_temperature=nan
--teacher_temperature=4
--teacher_weight=-0.1
--teacher_weight=1.1
--teacher_weight=nan
--teacher_weight=0.5
--teacher_weight=0 --teacher=.
--threads=0
--threads=100000
--train_steps=0
--train_steps=-5
--train_steps=1e3
--validation_fraction=-0.1
--validation_fraction=0.6
--validation_fraction=nan
--warmup_epochs=-1
--warmup_epochs=nan
--warmup_epochs=40
--epochs=0.5 --warmup_epochs=0.5
--weight_decay=-0.1
--weight_decay=inf
--nodebug=3
--no_such_flag=1
--flagfile=/no/such/file
--flagfile=.
stray
train --epochs=3
""".strip().splitlines()


@pytest.mark.parametrize("words", BAD)
def test_a_bad_value_is_wrong_usage_in_two_lines(words, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InvalidInput) as raised:
        read(*words.split())
    assert 1 <= len(str(raised.value).splitlines()) <= 2
    named = words.split()[0].lstrip("-").split("=")[0].removeprefix("no")
    assert named in str(raised.value)
