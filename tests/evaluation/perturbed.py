"""Results made of ground truth, each wrong in another way."""

import numpy as np


def labelled(truth):
    return [
        person
        for person in truth["annotations"]
        if person["num_keypoints"] > 0 and not person["iscrowd"]
    ]


def found(people, scores=None):
    return [
        {
            "image_id": person["image_id"],
            "category_id": 1,
            "keypoints": list(person["keypoints"]),
            "score": 1.0 if scores is None else float(scores[index]),
        }
        for index, person in enumerate(people)
    ]


def moved(results, people, sigmas, rng, *, share):
    """Move every keypoint by `share` of its OKS standard deviation."""
    sigmas = np.asarray(sigmas)[:, None]
    for result, person in zip(results, people, strict=True):
        points = np.reshape(result["keypoints"], (-1, 3)).astype(float)
        width, height = person["bbox"][2:]
        scale = 2 * np.sqrt(person.get("area", 0.53 * width * height)) * sigmas
        points[:, :2] += rng.normal(size=(len(points), 2)) * scale * share
        result["keypoints"] = points.ravel().tolist()
    return results


def _perfect(people, sigmas, rng):
    return found(people, rng.uniform(size=len(people)))


def _noisy(people, sigmas, rng, share=0.5):
    return moved(_perfect(people, sigmas, rng), people, sigmas, rng, share=share)


def _missing(people, sigmas, rng):
    return _noisy(people, sigmas, rng)[::2]


def _duplicated(people, sigmas, rng):
    return _noisy(people, sigmas, rng) + _noisy(people, sigmas, rng)


def _equal_scores(people, sigmas, rng):
    results = _noisy(people, sigmas, rng) + _noisy(people, sigmas, rng, share=2)
    return [{**result, "score": round(result["score"], 1)} for result in results]


def _shuffled_scores(people, sigmas, rng):
    results = _noisy(people, sigmas, rng, share=1)
    scores = rng.permutation([result["score"] for result in results])
    return [
        {**result, "score": float(score)}
        for result, score in zip(results, scores, strict=True)
    ]


def _many_per_image(people, sigmas, rng):
    return [r for _ in range(25) for r in _noisy(people, sigmas, rng)]


PERTURBATIONS = {
    "perfect": _perfect,
    "noisy": _noisy,
    "missing": _missing,
    "duplicated": _duplicated,
    "equal scores": _equal_scores,
    "shuffled scores": _shuffled_scores,
    "many per image": _many_per_image,
}
