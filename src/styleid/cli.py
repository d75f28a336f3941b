"""The command line: a table of commands and their arguments. `styleid.commands` runs them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import styleid
from styleid.commands.messages import message, sentence
from styleid.errors import MissingDependencyError, OptionError, StyleIDError
from styleid.version import __version__

_STATUS = """exit status:
  0  everything was written, and every face passed
  1  failure
  2  wrong usage; nothing was written
  3  finished, but faces were obscured although new ones were asked for, or
     inputs were not written; each is named on standard error and in the journal"""
_STATUS_PLAIN = "exit status: 0 success, 1 failure, 2 wrong usage"
_STATUS_EVALUATE = """exit status:
  0  every file could be read and compared
  1  failure
  2  wrong usage
  3  finished, but files were unreadable or missing; each is named in the report"""
_STATUS_CERTIFY = """exit status:
  0  nothing was found, people looked at the whole sample, and all recognisers
     attacked
  1  failure
  2  wrong usage
  3  the certificate is written, but it has findings, is partial, or nobody has
     looked at the sample yet"""
_STATUS_VERIFY = """exit status:
  0  every file is as it was certified, and the given key signed the certificate
  1  something does not match, or failure
  2  wrong usage
  3  files and certificate match, but without --public-key the signer is unknown"""
EXAMPLES = {
    "anonymize": """examples:
  styleid anonymize photos/ --out anonymised/ --report
  styleid anonymize photos/ --out anonymised/ --privacy high --seed 7
  styleid anonymize - --out - < a.jpg > b.jpg""",
    "dataset": """examples:
  styleid dataset coco coco/ coco-anonymised/ --boxes from-annotations
  styleid dataset shards shards/ shards-anonymised/

styleid dataset FORMAT --help lists the options of a format.""",
    "coco": """examples:
  styleid dataset coco coco/ coco-anonymised/ --boxes from-annotations
  styleid dataset coco coco/ coco-anonymised/ --add-faces --drop-withheld""",
    "yolo": """examples:
  styleid dataset yolo yolo/ yolo-anonymised/ --boxes from-annotations
  styleid dataset yolo yolo/ yolo-anonymised/ --classes face person --bad-boxes skip""",
    "voc": """examples:
  styleid dataset voc voc/ voc-anonymised/ --boxes from-annotations
  styleid dataset voc voc/ voc-anonymised/ --copy-others""",
    "shards": """examples:
  styleid dataset shards shards/ shards-anonymised/ --carry seg.png
  styleid dataset shards shards/ shards-anonymised/ --shard 1/8""",
    "video": """examples:
  styleid video in.mp4 --out out.mp4 --review
  styleid video frames/ --frames '*.png' --fps 25 --out frames-anonymised/
  styleid video rtsp://camera/stream --live --out out.mkv""",
    "serve": """examples:
  styleid serve
  styleid serve token add ann""",
    "evaluate": """examples:
  styleid evaluate photos/ anonymised/ --out report/
  styleid evaluate photos/ anonymised/ --compare blurred/ --out report/""",
    "certify": """examples:
  styleid certify photos/ anonymised/ --out certificate/ --key board.key
  styleid certify photos/ anonymised/ --out certificate/ --key board.key --answers answers.json""",
    "verify": """example:
  styleid verify certificate/certificate.json anonymised/ --public-key board.key.pub""",
    "key": """examples:
  styleid key new people.key
  styleid key new board.key --signing""",
    "bundles": """examples:
  styleid bundles show context128
  styleid bundles verify my-bundle/""",
    "rank": """example:
  styleid rank --bundle aam128 --units layers,groups:4 --out scores.npz --plot""",
    "doctor": """example:
  styleid doctor --device cuda""",
}

_INPUTS = """files, folders or their URLs (fsspec); @LIST, a text file with one name per line or a Parquet file with a
column path; or - for standard input"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["train"]:
        return _guarded(lambda: _train(given[1:]))
    parser = build_parser(given)
    parsed = parser.parse_args(given)
    parsed.given = given[1:]
    return _guarded(lambda: parsed.run(parsed), getattr(parsed, "positional", {}))


def _guarded(command: Callable[[], int], positional: Mapping[str, str] | None = None) -> int:
    try:
        return command()
    except StyleIDError as error:
        print(f"styleid: {message(error, positional)}", file=sys.stderr)
        return 2 if isinstance(error, OptionError) else 1
    except KeyboardInterrupt:
        print("styleid: interrupted; every written file is complete, and --resume continues from here", file=sys.stderr)
        return 1


def build_parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, with the options of the command that the arguments name."""
    about = "styleid COMMAND --help lists the options of a command."
    parser = argparse.ArgumentParser(prog="styleid", description=styleid.__doc__, epilog=about)
    parser.add_argument("--version", action="version", version=f"styleid {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (text, fill, status) in _COMMANDS.items():
        command = _add(commands, name, text, status)
        if given[:1] == [name]:  # a command's options are built only when it is called: importing them takes time
            fill(command)
    commands.add_parser("train", help="train the networks of a bundle (needs the extra lab)", add_help=False)
    return parser


def _add(commands: Any, name: str, text: str, status: str) -> argparse.ArgumentParser:
    about = "\n\n".join(filter(None, (EXAMPLES.get(name), status)))
    return commands.add_parser(
        name, help=text, description=sentence(text), epilog=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _fill_anonymize(parser: argparse.ArgumentParser) -> None:
    from styleid.commands.anonymize import CommandOptions, anonymize
    from styleid.commands.arguments import add_options, here_or_url, read_options, typed_names
    from styleid.core.options import AnonymizeOptions, PeopleOptions
    from styleid.engine.local import RunOptions

    parser.usage = "%(prog)s INPUT [INPUT ...] --out FOLDER [options]"
    parser.add_argument("inputs", nargs="+", type=here_or_url, metavar="INPUT", help=_INPUTS)
    for cls in (RunOptions, CommandOptions, AnonymizeOptions, PeopleOptions):
        add_options(parser, cls, skip=("anonymize_video", "live_photos"))

    def run(parsed: argparse.Namespace) -> int:
        values = vars(parsed)
        how, where = read_options(AnonymizeOptions, values), read_options(RunOptions, values)
        command, people = read_options(CommandOptions, values), read_options(PeopleOptions, values)
        return anonymize(parsed.inputs, how, where, command, people, typed_names(parser, parsed, parsed.given))

    parser.set_defaults(run=run, positional={"inputs": "INPUT"})


def _fill_video(parser: argparse.ArgumentParser) -> None:
    from styleid.commands.arguments import add_options, read_options, typed_names
    from styleid.commands.live import live, place_of, require_path
    from styleid.commands.video import VideoCommandOptions, video
    from styleid.core.options import AnonymizeOptions, PeopleOptions
    from styleid.media.provenance import MarkOptions
    from styleid.media.video.side_tracks import TrackOptions
    from styleid.media.video.writer import EncodeOptions
    from styleid.video.live_options import LiveOptions
    from styleid.video.options import EngineOptions, VideoOptions

    parser.usage = "%(prog)s INPUT --out FILE [options]"
    parser.add_argument("source", type=place_of, metavar="INPUT", help="a video; with --frames a folder of frames; "
                        "with --live also a camera device or the address of a stream")  # fmt: skip
    parser.add_argument("--out", type=place_of, required=True, metavar="PATH", help="the video to write; its suffix "
                        "names the container: .mp4, .mov or .mkv. With --frames, a folder; with --live also the "
                        "address of a stream")  # fmt: skip
    groups = (LiveOptions, AnonymizeOptions, PeopleOptions, EncodeOptions, TrackOptions)
    for cls in (VideoOptions, EngineOptions, VideoCommandOptions, *groups):
        add_options(parser, cls, skip=("out",))

    def run(parsed: argparse.Namespace) -> int:
        values = vars(parsed)
        how, command = read_options(AnonymizeOptions, values), read_options(VideoCommandOptions, values)
        encode, side = read_options(EncodeOptions, values), read_options(TrackOptions, values)
        now, typed = read_options(LiveOptions, values), typed_names(parser, parsed, parsed.given)
        if now.live:
            marking = read_options(MarkOptions, values)
            return live(parsed.source, parsed.out, now, how, encode, marking, command.bundle, command.device,
                        json=command.json, quiet=command.quiet, typed=typed)  # fmt: skip
        if "max_delay" in typed:
            raise OptionError("max_delay", "it can only be used with `live`.")
        source, values["out"] = require_path("source", parsed.source), require_path("out", parsed.out)
        people, where = read_options(PeopleOptions, values), read_options(EngineOptions, values)
        return video(source, read_options(VideoOptions, values), how, encode, side, command, people, typed, where)

    parser.set_defaults(run=run, positional={"source": "INPUT"})


def _fill_dataset(parser: argparse.ArgumentParser) -> None:
    from styleid.commands import dataset
    from styleid.commands.arguments import add_options, here, here_or_url, read_options
    from styleid.core.options import AnonymizeOptions
    from styleid.datasets.options import AnnotationOptions, CocoOptions, ShardOptions
    from styleid.engine.local import RunOptions

    def run(parsed: argparse.Namespace) -> int:
        values = vars(parsed)
        how, where = read_options(AnonymizeOptions, values), read_options(RunOptions, values)
        command = read_options(dataset.DatasetCommandOptions, values)
        if parsed.form == "shards":
            return dataset.shards(parsed.source, how, where, read_options(ShardOptions, values), command)
        annotations = read_options(AnnotationOptions, values)
        coco = read_options(CocoOptions, values) if parsed.form == "coco" else None
        return dataset.dataset(parsed.source, parsed.form, how, where, annotations, command, coco)

    forms = parser.add_subparsers(dest="form", metavar="FORMAT", required=True)
    for name, text, own in (
        ("coco", "COCO: JSON files of instances, keypoints or panoptic segments", (CocoOptions, AnnotationOptions)),
        ("yolo", "YOLO: labels beside the photos or in labels/, with a data.yaml", (AnnotationOptions,)),
        ("voc", "Pascal VOC: JPEGImages, Annotations and ImageSets", (AnnotationOptions,)),
        ("shards", "WebDataset: tar files", (ShardOptions,)),
    ):
        form = _add(forms, name, text, _STATUS)
        form.usage = "%(prog)s IN OUT [options]"
        is_tar = name == "shards"
        reader, more = (here_or_url, ", one shard, or the URL of either") if is_tar else (here, "")
        form.add_argument("source", type=reader, metavar="IN", help=f"folder of the data set{more}")
        form.add_argument("out", type=reader, metavar="OUT", help="folder for the new one, empty or of an earlier run")
        unused = () if is_tar else ("shard",)  # a part of the photos would leave the annotations of the others behind
        for cls in (RunOptions, dataset.DatasetCommandOptions, *own, AnonymizeOptions):
            add_options(form, cls, skip=("out", "anonymize_video", "live_photos", *unused))
    parser.set_defaults(run=run, positional={"source": "IN", "out": "OUT"})


def _fill_bundles(parser: argparse.ArgumentParser) -> None:
    from styleid.bundles.registry import DEFAULT
    from styleid.commands import bundles

    actions = parser.add_subparsers(metavar="ACTION", required=True)
    text = "list the built-in bundles; a star marks the default"
    listing = actions.add_parser("list", help=text, description=sentence(text))
    listing.set_defaults(run=lambda parsed: bundles.list_bundles())
    for name, text, action in (
        ("show", "show the networks of a bundle and its measured figures", bundles.show_bundle),
        ("verify", "check every file of a bundle against its bundle.json", bundles.verify_bundle),
    ):
        command = actions.add_parser(name, help=text, description=sentence(text))
        about = f"name of a built-in bundle, or a folder with a bundle.json (default: {DEFAULT})"
        command.add_argument("bundle", nargs="?", default=DEFAULT, metavar="BUNDLE", help=about)
        command.set_defaults(run=lambda parsed, action=action: action(parsed.bundle))
    text = "build a bundle from the checkpoints of the StyleID release (needs the extra lab)"
    _fill_build(actions.add_parser("build", help=text, description=sentence(text)))


def _fill_build(parser: argparse.ArgumentParser) -> None:
    from styleid.bundles.build_options import BuildOptions
    from styleid.commands import bundles
    from styleid.commands.arguments import add_options, read_options

    parser.add_argument("recipe", choices=bundles.RECIPES, help="ffhq1024: the files of the public StyleID release")
    add_options(parser, BuildOptions)
    parser.set_defaults(run=lambda parsed: bundles.build_bundle(read_options(BuildOptions, vars(parsed))))


def _fill_key(parser: argparse.ArgumentParser) -> None:
    from styleid.commands.arguments import here
    from styleid.commands.key import make_key, make_signing_key

    actions = parser.add_subparsers(metavar="ACTION", required=True)
    text = "write a new key for --targets consistent, or with --signing a pair of keys to sign certificates with"
    new = actions.add_parser("new", help=text, description=sentence(text))
    new.add_argument("file", type=here, metavar="FILE", help="file for the key; it must not exist yet")
    new.add_argument("--signing", action="store_true", help="write a pair of keys (Ed25519) to sign certificates with; "
                     "the public key goes to FILE.pub")  # fmt: skip
    new.set_defaults(run=lambda parsed: (make_signing_key if parsed.signing else make_key)(parsed.file))


def _fill_certify(parser: argparse.ArgumentParser) -> None:
    from styleid.commands.arguments import add_options, here, read_options
    from styleid.commands.certify import CertifyCommandOptions, certify_run
    from styleid.evaluate.certificate.certify import CertifyOptions

    parser.usage = "%(prog)s ORIGINALS OUTPUTS --out FOLDER [options]"
    parser.add_argument("originals", type=here, metavar="ORIGINALS", help="the input of the run: a folder or a video")
    parser.add_argument("outputs", type=here, metavar="OUTPUTS", help="the output of the run, with its journal")
    for cls in (CertifyOptions, CertifyCommandOptions):
        add_options(parser, cls)

    def run(parsed: argparse.Namespace) -> int:
        values = vars(parsed)
        options, command = read_options(CertifyOptions, values), read_options(CertifyCommandOptions, values)
        return certify_run(parsed.originals, parsed.outputs, options, command)

    parser.set_defaults(run=run, positional={"originals": "ORIGINALS", "outputs": "OUTPUTS"})


def _fill_verify(parser: argparse.ArgumentParser) -> None:
    from styleid.commands.arguments import here
    from styleid.commands.verify import verify

    parser.add_argument("certificate", type=here, metavar="CERTIFICATE", help="certificate.json of styleid certify")
    parser.add_argument("outputs", type=here, metavar="OUTPUTS", help="the folder or video that was certified")
    parser.add_argument("--public-key", type=here, metavar="FILE", help="public key of the expected signer, FILE.pub "
                        "of styleid key new --signing; without it, the signer stays unknown")  # fmt: skip
    parser.set_defaults(run=lambda parsed: verify(parsed.certificate, parsed.outputs, parsed.public_key))


def _fill_doctor(parser: argparse.ArgumentParser) -> None:
    from styleid.bundles.registry import DEFAULT
    from styleid.commands.doctor import doctor
    from styleid.runtime import DEVICES

    parser.add_argument("--bundle", default=DEFAULT, help="name of a built-in bundle, or a folder with a bundle.json "
                        f"(default: {DEFAULT})")  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where networks run (default: cpu)")
    parser.set_defaults(run=lambda parsed: doctor(parsed.bundle, parsed.device))


def _fill_evaluate(parser: argparse.ArgumentParser) -> None:
    from styleid.commands.arguments import add_options, here, read_options
    from styleid.commands.evaluate import EvaluateCommandOptions, evaluate
    from styleid.evaluate.suite import EvaluateOptions

    parser.usage = "%(prog)s ORIGINALS ANONYMIZED --out FOLDER [options]"
    parser.add_argument("originals", type=here, metavar="ORIGINALS", help="folder of the original photos")
    parser.add_argument("anonymized", type=here, metavar="ANONYMIZED", help="folder of the anonymised photos")
    parser.add_argument("--compare", nargs="+", type=here, default=[], metavar="FOLDER", help="folders of the same "
                        "photos, anonymised by other tools")  # fmt: skip
    for cls in (EvaluateOptions, EvaluateCommandOptions):
        add_options(parser, cls)

    def run(parsed: argparse.Namespace) -> int:
        values, folders = vars(parsed), [parsed.anonymized, *parsed.compare]
        options, command = read_options(EvaluateOptions, values), read_options(EvaluateCommandOptions, values)
        return evaluate(parsed.originals, folders, options, command)

    parser.set_defaults(run=run, positional={"originals": "ORIGINALS", "anonymized": "ANONYMIZED"})


def _fill_serve(parser: argparse.ArgumentParser) -> None:
    from styleid.commands import serve
    from styleid.commands.arguments import add_options, here, read_options
    from styleid.serve.options import ServeOptions

    parser.usage = "%(prog)s [options]\n       %(prog)s token ACTION"
    add_options(parser, ServeOptions)
    parser.set_defaults(run=lambda parsed: serve.serve(read_options(ServeOptions, vars(parsed))))
    topics = parser.add_subparsers(metavar="token", required=False, prog=parser.prog)
    text = "make, list or remove the tokens that people sign in with"
    token = topics.add_parser("token", help=text, description=sentence(text))
    actions = token.add_subparsers(metavar="ACTION", required=True)
    for name, text, action in (
        ("add", "make a token for a person and print it; it cannot be printed again", serve.add_token),
        ("remove", "remove a person's token and sign its browsers out", serve.remove_token),
    ):
        command = actions.add_parser(name, help=text, description=sentence(text))
        command.add_argument("owner", metavar="NAME", help="name of the person")
        command.set_defaults(run=lambda parsed, action=action: action(parsed.owner, parsed.data))
    text = "list the owners of tokens"
    listing = actions.add_parser("list", help=text, description=sentence(text))
    listing.set_defaults(run=lambda parsed: serve.list_tokens(parsed.data))
    for command in actions.choices.values():
        command.set_defaults(positional={"owner": "NAME"})
        command.add_argument("--data", type=here, default=argparse.SUPPRESS, metavar="PATH", help="folder for jobs and "
                             "tokens, as for styleid serve (default: ~/.local/state/styleid)")  # fmt: skip


def _fill_rank(parser: argparse.ArgumentParser) -> None:
    from styleid.commands.arguments import add_options, read_options
    from styleid.commands.rank import RankCommandOptions, rank
    from styleid.ranking.run import RankOptions

    parser.usage = "%(prog)s --out FILE.npz [options]"
    for cls in (RankOptions, RankCommandOptions):
        add_options(parser, cls)

    def run(parsed: argparse.Namespace) -> int:
        values = vars(parsed)
        return rank(read_options(RankOptions, values), read_options(RankCommandOptions, values))

    parser.set_defaults(run=run)


def _train(arguments: Sequence[str]) -> int:
    try:
        from styleid.commands.train import main as train
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"{error.name}, which styleid train needs,", "'styleid[lab]'") from error
    return train(arguments)


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "anonymize": ("replace the faces in photos with faces of people who do not exist", _fill_anonymize, _STATUS),
    "dataset": ("replace the faces in COCO, YOLO and VOC data sets and in tar shards", _fill_dataset, _STATUS),
    "video": ("replace the faces in a video, one new face for each person", _fill_video, _STATUS),
    "serve": ("run the review desk, a web service on this machine (needs the extra web)", _fill_serve, _STATUS_PLAIN),
    "evaluate": ("attack anonymised photos, and measure what they are good for", _fill_evaluate, _STATUS_EVALUATE),
    "certify": ("attack a finished run, and bound how many faces were missed", _fill_certify, _STATUS_CERTIFY),
    "verify": ("compare a certificate with its files and its signer", _fill_verify, _STATUS_VERIFY),
    "key": ("make a key for --targets consistent, or keys to sign certificates with", _fill_key, _STATUS_PLAIN),
    "bundles": ("list, show, verify or build bundles of networks", _fill_bundles, _STATUS_PLAIN),
    "rank": ("rank a bundle's latent units by how much identity they change", _fill_rank, _STATUS_PLAIN),
    "doctor": ("show what is installed, and test it", _fill_doctor, _STATUS_PLAIN),
}


if __name__ == "__main__":
    sys.exit(main())
