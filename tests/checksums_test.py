import json

import pytest

from logocap_jax.checksums import verify_checksum, with_checksum

CONTENT = {"settings": {"sigmas": (0.025, 1e-05)}, "leaves": {"ä": [1, 2]}, "score": 1}


def test_what_was_written_is_accepted_as_json_gives_it_back():
    text = json.dumps(with_checksum(CONTENT))
    verify_checksum(json.loads(text))
    assert json.loads(text)["settings"]["sigmas"] == [0.025, 1e-05]


def test_every_flipped_bit_is_noticed():
    text = json.dumps(with_checksum(CONTENT)).encode()
    original = json.loads(text)
    wrong = 0
    for place in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[place // 8] ^= 1 << place % 8
        try:
            content = json.loads(flipped)
        except ValueError:
            continue  # no JSON any more
        if content == original:
            continue  # 1E-05, of the same meaning
        wrong += 1
        with pytest.raises(ValueError, match="another text"):
            verify_checksum(content)
    assert wrong > 100


@pytest.mark.parametrize("content", [{}, [], 1, CONTENT])
def test_what_has_no_checksum_is_refused(content):
    with pytest.raises(ValueError, match="another text"):
        verify_checksum(content)
