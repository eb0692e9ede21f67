"""Writes libs/contracts from the protos, byte for byte the same each time.

    python protos/generate.py              writes the generated code
    python protos/generate.py --check      fails when the committed code is not what the protos say
    python protos/generate.py --lint       buf lint (STANDARD)
    python protos/generate.py --breaking   buf breaking against the released contract, protos/released.binpb.gz
    python protos/generate.py --release    makes the protos of today the released contract

`buf/validate/validate.proto` ships in no wheel as text. Its descriptor comes out of protovalidate and is appended to a
descriptor set of the well-known and google/api types; protoc takes that set in place of files. buf reads the image
that protoc writes, so that nothing is fetched.
"""

import argparse
import filecmp
import gzip
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api
import grpc_tools  # type: ignore[import-untyped]
import protovalidate
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
OUTPUT = PROTOS.parent / "libs" / "contracts" / "src"
RELEASED = PROTOS / "released.binpb.gz"
VALIDATE = "buf/validate/validate.proto"
BINARIES = Path(sys.executable).parent
WELL_KNOWN = ("descriptor", "duration", "empty", "field_mask", "timestamp")
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi", "*.binpb")


class GenerationFailed(Exception):
    """protoc or buf refused; it has said why on stderr."""


def own_protos() -> list[str]:
    """Paths of the project's protos, relative to `protos/`, in a fixed order."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.glob("tocsin/**/*.proto"))


def protos_with_services() -> list[str]:
    """Those of the project's protos that declare a service; the others need no gRPC code."""
    return [name for name in own_protos() if "\nservice " in (PROTOS / name).read_text()]


def run_protoc(arguments: list[str]) -> None:
    """Runs the protoc inside grpcio-tools. Raises GenerationFailed."""
    if protoc.main(["protoc", *arguments]) != 0:
        raise GenerationFailed("protoc " + " ".join(arguments))


def write_dependencies(target: Path) -> None:
    """Writes a descriptor set of everything that the project's protos import from elsewhere."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    google_api = Path(next(iter(google.api.__path__))).parent.parent
    imported = [f"google/protobuf/{name}.proto" for name in WELL_KNOWN]
    imported += ["google/api/annotations.proto"]
    run_protoc(["-I", str(well_known), "-I", str(google_api), "--include_imports", "-o", str(target), *imported])
    known = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    validate = known.file.add()
    validate.ParseFromString(protovalidate.ViolationPb.desc().file.proto.to_binary())
    if validate.name != VALIDATE:
        raise GenerationFailed(f"protovalidate's descriptor is {validate.name}, not {VALIDATE}")
    target.write_bytes(known.SerializeToString(deterministic=True))


def generate(output: Path) -> None:
    """Writes all generated code below `output`: messages and servicers with type stubs, and their image."""
    with tempfile.TemporaryDirectory() as scratch:
        dependencies = Path(scratch) / "dependencies.binpb"
        write_dependencies(dependencies)
        known = f"--descriptor_set_in={dependencies}"
        messages = [
            f"--plugin=protoc-gen-mypy={BINARIES / 'protoc-gen-mypy'}",
            f"--python_out={output}",
            f"--mypy_out=quiet:{output}",
        ]
        run_protoc([known, *messages, VALIDATE])
        run_protoc(["-I", str(PROTOS), known, *messages, *own_protos()])
        services = [
            f"--plugin=protoc-gen-mypy_grpc={BINARIES / 'protoc-gen-mypy_grpc'}",
            f"--grpc_python_out={output}",
            f"--mypy_grpc_out=quiet:{output}",
        ]
        run_protoc(["-I", str(PROTOS), known, *services, *protos_with_services()])
    # Generated Python keeps no comments: OpenAPI's descriptions are read from this.
    write_image(output / "tocsin" / "contract.binpb", with_source=True)


def generated_files(root: Path) -> set[str]:
    """Generated files below `root`, relative to it."""
    return {path.relative_to(root).as_posix() for pattern in GENERATED for path in root.rglob(pattern)}


def write() -> None:
    """Puts fresh code into libs/contracts and takes out what no proto makes any more."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        for name in generated_files(OUTPUT) - generated_files(fresh):
            (OUTPUT / name).unlink()
        for name in generated_files(fresh):
            (OUTPUT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fresh / name, OUTPUT / name)


def drift() -> list[str]:
    """Generated files that are missing, left over or other than what the protos say."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        committed, wanted = generated_files(OUTPUT), generated_files(fresh)
        differing = {name for name in committed & wanted if not filecmp.cmp(OUTPUT / name, fresh / name, shallow=False)}
        return sorted((committed ^ wanted) | differing)


def write_image(target: Path, *, with_source: bool) -> None:
    """Writes the project's protos and all they import as one image that buf reads."""
    with tempfile.TemporaryDirectory() as scratch:
        dependencies = Path(scratch) / "dependencies.binpb"
        write_dependencies(dependencies)
        source = ["--include_source_info"] if with_source else []
        arguments = ["-I", str(PROTOS), f"--descriptor_set_in={dependencies}", *source, "--include_imports"]
        run_protoc([*arguments, "-o", str(target), *own_protos()])


def release() -> None:
    """Makes today's protos what `--breaking` compares with."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        write_image(image, with_source=False)
        RELEASED.write_bytes(gzip.compress(image.read_bytes(), mtime=0))


def run_buf(verb: str, *arguments: str) -> None:
    """Runs `buf lint` or `buf breaking` on an image of today's protos. Raises GenerationFailed."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        write_image(image, with_source=True)
        command = [str(BINARIES / "buf"), verb, str(image), "--config", str(PROTOS / "buf.yaml"), "--path", "tocsin"]
        if subprocess.run([*command, *arguments], check=False).returncode != 0:  # noqa: S603
            raise GenerationFailed(f"buf {verb}")


def main() -> None:
    """Does what the command line asks; ends with 1 and a sentence when something is wrong."""
    parser = argparse.ArgumentParser(description="Writes libs/contracts from the protos.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="fail when the committed code differs")
    choice.add_argument("--lint", action="store_true", help="buf lint")
    choice.add_argument("--breaking", action="store_true", help="buf breaking against the released contract")
    choice.add_argument("--release", action="store_true", help="make today's protos the released contract")
    chosen = parser.parse_args()
    try:
        if chosen.check:
            if differing := drift():
                sys.exit("not what the protos say (run `python protos/generate.py`): " + ", ".join(differing))
        elif chosen.lint:
            run_buf("lint")
        elif chosen.breaking:
            run_buf("breaking", "--against", str(RELEASED))
        elif chosen.release:
            release()
        else:
            write()
    except GenerationFailed as failure:
        sys.exit(f"failed: {failure}")


if __name__ == "__main__":
    main()
