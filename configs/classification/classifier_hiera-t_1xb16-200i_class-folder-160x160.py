# Hiera-T, classifier on images of one's own in a folder for each class, from random weights.
# Hardware: a CPU will do.
# Command: python tools/train.py \
#     configs/classification/classifier_hiera-t_1xb16-200i_class-folder-160x160.py --data FOLDER
_base_ = [
    '../_base_/models/classifier_hiera.py', '../_base_/datasets/class_folder.py',
    '../_base_/schedules/adamw_cosine_200i.py', '../_base_/classification_runtime.py'
]
model = dict(arch='tiny', num_classes=_base_.num_classes, label_smoothing=0.1)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=100))
