"""An installed tree: programs run, a module builds against it, and it can be moved; no environment variable helps."""

import json
import os
import shutil
import subprocess

import pytest

from support import BUILD, COMMAND_TIMEOUT_S, ROOT, run

CLEAN = {"LD_LIBRARY_PATH": "", "LD_PRELOAD": ""}


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Installed to one place, then moved to another."""
    first = tmp_path_factory.mktemp("first") / "dango"
    moved = tmp_path_factory.mktemp("moved") / "prefix"
    subprocess.run(
        ["cmake", "--install", str(BUILD), "--prefix", str(first)],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=COMMAND_TIMEOUT_S,
    )
    shutil.move(first, moved)
    return moved


def pkgconfig_path(prefix):
    (path,) = prefix.glob("lib*/**/pkgconfig")
    return str(path)


def test_a_module_builds_and_serves(prefix, servers, workdir):
    shutil.copytree(ROOT / "examples" / "module", workdir / "module")
    environment = {**CLEAN, "PKG_CONFIG_PATH": pkgconfig_path(prefix)}
    run(["make", "-C", "module"], env=environment)
    library = str(workdir / "module" / "libcounter-bedrock-module.so")
    config = {
        "libraries": [library],
        "providers": [{"name": "tickets", "type": "counter", "provider_id": 7, "config": {"start": 100}}],
    }
    (workdir / "config.json").write_text(json.dumps(config))
    server = servers.start([prefix / "bin" / "bedrock", "na+sm", "-c", "config.json"], name="installed", env=CLEAN)
    address = server.wait_for_output(r"running at (\S+)").group(1)
    client = workdir / "module" / "client"
    numbers = [run([client, address, "7"], env=CLEAN).stdout.strip() for _ in range(3)]
    assert numbers == ["100", "101", "102"]
    shown = json.loads(run([prefix / "bin" / "bedrock-query", "na+sm", "-a", address], env=CLEAN).stdout)
    assert shown[address]["providers"][0]["config"] == {"start": 100}
    run([prefix / "bin" / "bedrock-shutdown", "na+sm", "-a", address], env=CLEAN)
    assert server.wait() == 0


def test_every_package_name_resolves(prefix):
    environment = {**CLEAN, "PKG_CONFIG_PATH": pkgconfig_path(prefix)}
    names = "argobots mercury margo abt-io flock-client flock-server yokan-client yokan-server warabi-client".split()
    names += "warabi-server warabi-c-error warabi-c-client warabi-c-server bedrock-client bedrock-server".split()
    names += "bedrock-module-api diaspora-stream-api mofka dango".split()
    for name in names:
        flags = run(["pkg-config", "--cflags", "--libs", name], env=environment).stdout
        assert "-ldango" in flags
        include = next(word[2:] for word in flags.split() if word.startswith("-I"))
        assert os.path.samefile(include, prefix / "include")


def test_find_package_gives_a_target(prefix, workdir):
    (workdir / "main.c").write_text("#include <margo.h>\nint main(void) { return margo_get_class(NULL) != NULL; }\n")
    (workdir / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(user C)\nfind_package(margo 0.15 REQUIRED)\n"
        "find_package(bedrock-server REQUIRED)\nadd_executable(user main.c)\n"
        "foreach(package flock yokan warabi)\nfind_package(${package} REQUIRED)\n"
        "target_link_libraries(user ${package}::client ${package}::server)\nendforeach()\n"
        "target_link_libraries(user margo bedrock-server warabi::c-error warabi::c-client warabi::c-server)\n"
    )
    run(["cmake", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}"], env=CLEAN)
    run(["cmake", "--build", "build"], env=CLEAN)
    run([workdir / "build" / "user"], env=CLEAN)


@pytest.mark.parametrize("protocol", ["na+sm", "ofi+tcp://127.0.0.1"])
def test_the_streaming_example_builds_and_runs(prefix, servers, workdir, protocol):
    if protocol.startswith("ofi") and not list(prefix.glob("lib*/**/libdango-ofi.so")):
        pytest.skip("built without libfabric")
    environment = {**CLEAN, "PKG_CONFIG_PATH": pkgconfig_path(prefix)}
    flags = run(["pkg-config", "--cflags", "--libs", "diaspora-stream-api"], env=environment).stdout.split()
    library = run(["pkg-config", "--variable=libdir", "diaspora-stream-api"], env=environment).stdout.strip()
    program = workdir / "stream"
    run(["cc", ROOT / "examples" / "stream.c", *flags, f"-Wl,-rpath,{library}", "-o", program], env=CLEAN)
    config = ROOT / "examples" / "quickstart" / "config.json"
    server = servers.start([prefix / "bin" / "bedrock", protocol, "-c", config], name="installed", env=CLEAN)
    server.wait_for_output(r"running at")
    create = ["topic", "create", "--driver", "mofka", "--driver.group_file", "mofka.json", "--name", "shots"]
    run([prefix / "bin" / "diaspora-ctl", *create], env=CLEAN)
    lines = run([program, "mofka.json", "shots"], env=CLEAN).stdout.splitlines()
    assert lines == [f'event {i}: {{"shot":{i}}} with 64 bytes' for i in range(0, 1000, 250)]


def test_without_libfabric_all_else_works(prefix):
    def info(protocol):
        return run([prefix / "bin" / "margo-info", protocol], env=CLEAN, check=False)

    plugins = list(prefix.glob("lib*/**/libdango-ofi.so"))
    if not plugins:
        refused = info("ofi+tcp://127.0.0.1")
        assert refused.returncode == 255 and "install libfabric-dev and build it again" in refused.stdout
        return
    hidden = plugins[0].with_suffix(".hidden")
    assert info("ofi+tcp://127.0.0.1").returncode == 0
    plugins[0].rename(hidden)
    try:
        refused = info("ofi+tcp://127.0.0.1")
        assert refused.returncode == 255 and "the libfabric plug-in is not installed" in refused.stdout
        assert info("tcp://127.0.0.1").returncode == 0 and info("na+sm").returncode == 0
    finally:
        hidden.rename(plugins[0])


def test_the_reader_of_logs_is_there(prefix):
    assert "verify" in run([prefix / "bin" / "mofka-log", "--help"], env=CLEAN).stdout
