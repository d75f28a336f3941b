"""Replace the faces in photos, data sets and videos with faces of people who do not exist, and check each new face."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from styleid.version import __version__ as __version__

# ONNX Runtime 1.32 stores a device id in the user's cache and sends events to its maker. This variable prevents both,
# but only if it is set before the import; disable_telemetry_events() comes too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from styleid.api.datasets import anonymize_dataset as anonymize_dataset
    from styleid.api.datasets import anonymize_shards as anonymize_shards
    from styleid.api.installation import Check as Check
    from styleid.api.installation import check_installation as check_installation
    from styleid.api.installation import describe_installation as describe_installation
    from styleid.api.live import anonymize_live as anonymize_live
    from styleid.api.photos import AnonymizedFile as AnonymizedFile
    from styleid.api.photos import anonymize_bytes as anonymize_bytes
    from styleid.api.photos import anonymize_files as anonymize_files
    from styleid.api.ranking import RankingFiles as RankingFiles
    from styleid.api.ranking import rank_bundle as rank_bundle
    from styleid.api.videos import anonymize_video as anonymize_video
    from styleid.bundles.build_options import BuildOptions as BuildOptions
    from styleid.bundles.bundle import Bundle as Bundle
    from styleid.bundles.registry import load_bundle as load_bundle
    from styleid.bundles.registry import verify_bundle as verify_bundle
    from styleid.core.options import AnonymizeOptions as AnonymizeOptions
    from styleid.core.options import PeopleOptions as PeopleOptions
    from styleid.core.pipeline import Anonymizer as Anonymizer
    from styleid.datasets.options import AnnotationOptions as AnnotationOptions
    from styleid.datasets.options import CocoOptions as CocoOptions
    from styleid.datasets.options import ShardOptions as ShardOptions
    from styleid.datasets.run import DatasetSummary as DatasetSummary
    from styleid.engine.options import RunOptions as RunOptions
    from styleid.engine.summary import Summary as Summary
    from styleid.errors import BundleError as BundleError
    from styleid.errors import CertificateError as CertificateError
    from styleid.errors import CheckpointError as CheckpointError
    from styleid.errors import DatasetError as DatasetError
    from styleid.errors import DecisionError as DecisionError
    from styleid.errors import ImageError as ImageError
    from styleid.errors import KeyFileError as KeyFileError
    from styleid.errors import MissingDependencyError as MissingDependencyError
    from styleid.errors import OptionError as OptionError
    from styleid.errors import OutputError as OutputError
    from styleid.errors import PeopleFileError as PeopleFileError
    from styleid.errors import StyleIDError as StyleIDError
    from styleid.errors import TrainingError as TrainingError
    from styleid.errors import VideoError as VideoError
    from styleid.evaluate.certificate.certify import Certified as Certified
    from styleid.evaluate.certificate.certify import CertifyOptions as CertifyOptions
    from styleid.evaluate.certificate.certify import certify as certify
    from styleid.evaluate.certificate.signature import new_signing_key as new_signing_key
    from styleid.evaluate.certificate.verify import Checked as Checked
    from styleid.evaluate.certificate.verify import verify_certificate as verify_certificate
    from styleid.evaluate.folders import EvaluationReport as EvaluationReport
    from styleid.evaluate.folders import evaluate_folders as evaluate_folders
    from styleid.evaluate.suite import EvaluateOptions as EvaluateOptions
    from styleid.faces.detect import DetectorOptions as DetectorOptions
    from styleid.faces.detect import FaceDetector as FaceDetector
    from styleid.lab.bundling.restore import restore_bundle as restore_bundle
    from styleid.lab.data.context_pack import ContextPackOptions as ContextPackOptions
    from styleid.lab.data.context_pack import build_context_pack as build_context_pack
    from styleid.lab.data.pack import PackOptions as PackOptions
    from styleid.lab.data.pack import build_pack as build_pack
    from styleid.lab.tasks.context_options import BankOptions as BankOptions
    from styleid.lab.tasks.context_options import ContextOptions as ContextOptions
    from styleid.lab.tasks.loop import TrainingOptions as TrainingOptions
    from styleid.lab.training import GanOptions as GanOptions
    from styleid.lab.training import TaskOptions as TaskOptions
    from styleid.lab.training import join_appearance_bundle as join_appearance_bundle
    from styleid.lab.training import join_context_bundle as join_context_bundle
    from styleid.lab.training import shrink_context_pack as shrink_context_pack
    from styleid.lab.training import train_appearance_model as train_appearance_model
    from styleid.lab.training import train_context_generator as train_context_generator
    from styleid.lab.training import train_network as train_network
    from styleid.lab.upstream.bundle import build_ffhq_bundle as build_ffhq_bundle
    from styleid.media.provenance import MarkOptions as MarkOptions
    from styleid.media.video.side_tracks import TrackOptions as TrackOptions
    from styleid.media.video.writer import EncodeOptions as EncodeOptions
    from styleid.people.key_file import new_key as new_key
    from styleid.ranking.run import Ranking as Ranking
    from styleid.ranking.run import RankOptions as RankOptions
    from styleid.ranking.run import rank_units as rank_units
    from styleid.serve.options import ServeOptions as ServeOptions
    from styleid.serve.running import add_token as add_token
    from styleid.serve.running import list_tokens as list_tokens
    from styleid.serve.running import remove_token as remove_token
    from styleid.serve.running import run_service as run_service
    from styleid.types import Action as Action
    from styleid.types import FaceOutcome as FaceOutcome
    from styleid.types import Faces as Faces
    from styleid.types import Outcome as Outcome
    from styleid.video.live import LiveSummary as LiveSummary
    from styleid.video.live_options import LiveOptions as LiveOptions
    from styleid.video.options import VideoOptions as VideoOptions
    from styleid.video.run import VideoSummary as VideoSummary

_EXPORTED = {
    "api.datasets": "anonymize_dataset anonymize_shards",
    "api.installation": "Check check_installation describe_installation",
    "api.live": "anonymize_live",
    "api.photos": "AnonymizedFile anonymize_bytes anonymize_files",
    "api.ranking": "RankingFiles rank_bundle",
    "api.videos": "anonymize_video",
    "bundles.build_options": "BuildOptions",
    "bundles.bundle": "Bundle",
    "bundles.registry": "load_bundle verify_bundle",
    "core.options": "AnonymizeOptions PeopleOptions",
    "core.pipeline": "Anonymizer",
    "datasets.options": "AnnotationOptions CocoOptions ShardOptions",
    "datasets.run": "DatasetSummary",
    "engine.options": "RunOptions",
    "engine.summary": "Summary",
    "errors": "BundleError CertificateError CheckpointError DatasetError DecisionError ImageError KeyFileError "
    "MissingDependencyError OptionError OutputError PeopleFileError StyleIDError TrainingError VideoError",
    "evaluate.certificate.certify": "Certified CertifyOptions certify",
    "evaluate.certificate.signature": "new_signing_key",
    "evaluate.certificate.verify": "Checked verify_certificate",
    "evaluate.folders": "EvaluationReport evaluate_folders",
    "evaluate.suite": "EvaluateOptions",
    "faces.detect": "DetectorOptions FaceDetector",
    "lab.bundling.restore": "restore_bundle",
    "lab.data.context_pack": "ContextPackOptions build_context_pack",
    "lab.data.pack": "PackOptions build_pack",
    "lab.tasks.context_options": "BankOptions ContextOptions",
    "lab.tasks.loop": "TrainingOptions",
    "lab.training": "GanOptions TaskOptions join_appearance_bundle join_context_bundle shrink_context_pack "
    "train_appearance_model train_context_generator train_network",
    "lab.upstream.bundle": "build_ffhq_bundle",
    "media.provenance": "MarkOptions",
    "media.video.side_tracks": "TrackOptions",
    "media.video.writer": "EncodeOptions",
    "people.key_file": "new_key",
    "ranking.run": "RankOptions Ranking rank_units",
    "serve.options": "ServeOptions",
    "serve.running": "add_token list_tokens remove_token run_service",
    "types": "Action FaceOutcome Faces Outcome",
    "video.live": "LiveSummary",
    "video.live_options": "LiveOptions",
    "video.options": "VideoOptions",
    "video.run": "VideoSummary",
}
_HOMES = {name: module for module, names in _EXPORTED.items() for name in names.split()}

TRAINING = tuple(sorted(name for name, module in _HOMES.items() if module.startswith("lab.")))
"""Names that need the extra lab. `from styleid import *` leaves them out, so that it does not need torch."""

__all__ = [
    "Action",
    "AnnotationOptions",
    "AnonymizeOptions",
    "AnonymizedFile",
    "Anonymizer",
    "BuildOptions",
    "Bundle",
    "BundleError",
    "CertificateError",
    "Certified",
    "CertifyOptions",
    "Check",
    "Checked",
    "CheckpointError",
    "CocoOptions",
    "DatasetError",
    "DatasetSummary",
    "DecisionError",
    "DetectorOptions",
    "EncodeOptions",
    "EvaluateOptions",
    "EvaluationReport",
    "FaceDetector",
    "FaceOutcome",
    "Faces",
    "ImageError",
    "KeyFileError",
    "LiveOptions",
    "LiveSummary",
    "MarkOptions",
    "MissingDependencyError",
    "OptionError",
    "Outcome",
    "OutputError",
    "PeopleFileError",
    "PeopleOptions",
    "RankOptions",
    "Ranking",
    "RankingFiles",
    "RunOptions",
    "ServeOptions",
    "ShardOptions",
    "StyleIDError",
    "Summary",
    "TrackOptions",
    "TrainingError",
    "VideoError",
    "VideoOptions",
    "VideoSummary",
    "__version__",
    "add_token",
    "anonymize_bytes",
    "anonymize_dataset",
    "anonymize_files",
    "anonymize_live",
    "anonymize_shards",
    "anonymize_video",
    "certify",
    "check_installation",
    "describe_installation",
    "evaluate_folders",
    "list_tokens",
    "load_bundle",
    "new_key",
    "new_signing_key",
    "rank_bundle",
    "rank_units",
    "remove_token",
    "run_service",
    "verify_bundle",
    "verify_certificate",
]


def __dir__() -> list[str]:
    """List the public names, of which most are imported when they are first used."""
    return sorted({*globals(), *__all__, *TRAINING})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `styleid --help` does not load the networks' libraries."""
    if name not in _HOMES:
        raise AttributeError(f"module 'styleid' has no attribute '{name}'")
    from importlib import import_module

    try:
        return getattr(import_module(f"styleid.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if name not in TRAINING or (error.name or "").startswith("styleid"):
            raise
        from styleid.errors import MissingDependencyError

        raise MissingDependencyError(f"{error.name}, which styleid.{name} needs,", "'styleid[lab]'") from error
