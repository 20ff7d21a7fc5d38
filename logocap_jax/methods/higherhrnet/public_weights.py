"""Published weights of HigherHRNet."""

from logocap_jax.public_weights import PublicWeights, of_mmpose

_W32, _W48 = "HRNet-W32", "HRNet-W48"
PUBLIC: dict[str, PublicWeights] = {
    "higherhrnet_w32_coco": of_mmpose(
        "bottom_up/higher_hrnet32_coco_512x512-8ae85183_20200713.pth",
        *(_W32, "COCO", 512, "67.7"),
    ),
    "higherhrnet_w32_coco_640": of_mmpose(
        "bottom_up/higher_hrnet32_coco_640x640-a22fe938_20200712.pth",
        *(_W32, "COCO", 640, "68.6"),
    ),
    "higherhrnet_w48_coco": of_mmpose(
        "bottom_up/higher_hrnet48_coco_512x512-60fedcbc_20200712.pth",
        *(_W48, "COCO", 512, "68.6"),
    ),
    "higherhrnet_w32_crowdpose": of_mmpose(
        "bottom_up/higher_hrnet32_crowdpose_512x512-1aa4a132_20201017.pth",
        *(_W32, "CrowdPose", 512, "65.5"),
    ),
    "higherhrnet_w32_coco_official": PublicWeights(
        *(_W32, "COCO", 512, "pose_higher_hrnet_w32_512.pth", "67.1"),
        licence="MIT (the code)",
        source="the cloud folder that its README on GitHub links to",
    ),
}
