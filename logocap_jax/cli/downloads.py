"""What each data set's authors offer for download, and where it goes: for `--help`."""

TEXTS = {
    "coco": """\
COCO 2017, to train and to score. With --download this command downloads and unpacks
it: 20 GB, and 61 GB of disk space in all. By hand: from http://images.cocodataset.org,
unpacked into one folder:

  zips/train2017.zip                          118,287 images, 18 GB
  zips/val2017.zip                            5,000 images, 1 GB
  annotations/annotations_trainval2017.zip    241 MB, of which are needed
    annotations/person_keypoints_train2017.json
    annotations/person_keypoints_val2017.json

For `eval.py --test-dev`, which reads them as they are:

  zips/test2017.zip                           40,670 images, 6 GB
  annotations/image_info_test2017.zip         1 MB, of which is needed
    annotations/image_info_test-dev2017.json  20,288 of these images

Images are looked for in train2017/ or images/train2017/, and so on. One of train and
val is enough.
""",
    "ochuman": """\
OCHuman, to score weights trained on COCO: people who cover each other, with COCO's
keypoints and metrics. Its authors ask for a form to be filled in, so you have to
download it yourself:
https://github.com/liruilong940607/OCHumanApi. Into one folder:

  images/                                     5,081 images, 667 MB
  annotations/ochuman_coco_format_val_range_0.00_1.00.json    2,500 images
  annotations/ochuman_coco_format_test_range_0.00_1.00.json   2,231 images

The annotations may also lie in the folder itself. ochuman.json is not needed. One of
val and test is enough.
""",
    "crowdpose": """\
CrowdPose, to train and to score: crowds, with 14 keypoints of its own. To be downloaded
by hand, from the two Google Drive links of https://github.com/Jeff-sjtu/CrowdPose,
into one folder:

  images/                                     20,000 images
  annotations/crowdpose_train.json            10,000 of them
  annotations/crowdpose_val.json              2,000
  annotations/crowdpose_test.json             8,000

The annotations may also lie in json/ or in the folder itself. They have no areas: that
of a person is 0.53 of the box, as in the official evaluation. One of the three is
enough.
""",
    "own": """\
Data of your own, to train and to score. Into one folder, by these names:

  train2017/                                  images, and so on, as in COCO
  val2017/
  annotations/person_keypoints_train2017.json in COCO's format
  annotations/person_keypoints_val2017.json
  skeleton.toml                               unless the keypoints are COCO's

Names and limbs of the keypoints are those of the annotations; skeleton.toml says what
COCO's format lacks: which keypoints mirror each other, and how precisely people can
annotate them (see docs/own_data.md). One of train and val is enough.
""",
}
