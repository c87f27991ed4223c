"""What goes wrong on the first day: each mistake is named, says what to do, and does not end with status 0."""

import json
import os
import signal
import time

from support import PROTOCOL, ROOT, SLOWNESS, run


def write_group(path, *servers):
    members = [{"address": server.address, "provider_id": 1} for server in servers]
    path.write_text(json.dumps({"members": members, "metadata": {}}))


def tool(name, *arguments):
    return run([f"bedrock-{name}", PROTOCOL, *arguments], check=False)


def refused(*command, env=None):
    """Standard error of a command that must fail and print no result."""
    result = run(command, check=False, env=env)
    assert result.returncode in (1, 255) and not result.stdout, (command, result)
    return result.stderr


def test_the_living_answer_for_a_group_that_has_lost_members(servers, workdir):
    living, dead, hung = (servers.bedrock({}) for _ in range(3))
    write_group(workdir / "group.json", dead, hung, living)
    dead.kill()
    hung.signal(signal.SIGSTOP)
    for question in ([], ["-e", "$__config__.margo.mercury.address"]):
        begin = time.monotonic()
        result = tool("query", "-f", "group.json", "-T", "1", "-k", *question)
        assert time.monotonic() - begin < 10 * SLOWNESS
        assert result.returncode == 255 and list(json.loads(result.stdout)) == [living.address]
        first, second, summary = result.stderr.splitlines()
        assert f"no reply from {dead.address}" in first and f"no answer from {hung.address} within 1 s" in second
        assert "2 of 3 daemons failed; 1 not there any more, though listed in group.json" in summary
        assert "1 without an answer, but running" in summary and "kill -9" in summary
        assert "--keep-going" not in summary
    result = tool("query", "-f", "group.json", "-T", "1")
    assert result.returncode == 255 and not result.stdout
    assert result.stderr.endswith("; --keep-going shows what the others say\n")


def test_who_is_not_shut_down_is_named(servers, workdir):
    living, dead, hung = (servers.bedrock({}) for _ in range(3))
    write_group(workdir / "group.json", dead, hung, living)
    dead.kill()
    hung.signal(signal.SIGSTOP)
    result = tool("shutdown", "-f", "group.json", "-T", "1")
    assert result.returncode == 1 and living.wait() == 0
    assert dead.address in result.stderr and f"no answer from {hung.address} within 1 s" in result.stderr
    assert "2 of 3 daemons failed" in result.stderr and living.address not in result.stderr


def test_a_group_file_that_nobody_stands_behind(servers, workdir):
    gone = [servers.bedrock({}) for _ in range(2)]
    write_group(workdir / "group.json", *gone)
    for server in gone:
        server.kill()
    for name in ("query", "shutdown"):
        last = refused(f"bedrock-{name}", PROTOCOL, "-f", "group.json").splitlines()[-1]
        assert last == (
            f"bedrock-{name}: nobody listed in group.json answers: the service has probably ended; "
            "start it again, or give another file"
        )


def test_a_host_that_nobody_knows_keeps_nothing_from_the_others(servers):
    server = servers.bedrock({}, protocol="tcp://127.0.0.1")
    result = run(["bedrock-query", "tcp", "-k", "-a", "tcp://host.invalid:1", "-a", server.address], check=False)
    assert result.returncode == 255 and list(json.loads(result.stdout)) == [server.address]
    assert 'the host of address "tcp://host.invalid:1" cannot be found' in result.stderr
    assert "1 of 2 daemons failed" in result.stderr


def test_group_files_that_are_none(workdir):
    options = ["--driver", "mofka", "--driver.group_file"]
    (workdir / "config.json").write_text('{"margo": {}}')
    (workdir / "empty.json").write_text('{"members": [], "metadata": {}}')
    for name, problem in [
        ("missing.json", "missing.json: cannot open: No such file or directory (servers write it when they start"),
        ("config.json", 'config.json: not a group file: it has no array "members" (group files are written by'),
        ("empty.json", "empty.json: the group has no members: its servers have ended; start them again"),
    ]:
        assert problem in refused("bedrock-query", PROTOCOL, "-f", name)
        assert problem in refused("bedrock-shutdown", PROTOCOL, "-f", name)
        assert problem in refused("diaspora-ctl", "topic", "list", *options, name)


def flock(bootstrap, file, group="swim"):
    config = {"bootstrap": bootstrap, "file": file, "group": {"type": group}}
    return {
        "libraries": ["libflock-bedrock-module.so"],
        "providers": [{"name": "group", "type": "flock", "provider_id": 1, "config": config}],
    }


def test_clients_and_joiners_of_a_service_that_has_ended(servers, workdir):
    for group in ("swim", "centralized"):
        file = f"{group}.json"
        gone = servers.bedrock(flock("self", file, group))
        gone.kill()
        error = refused("diaspora-ctl", "topic", "list", "--driver", "mofka", "--driver.group_file", file)
        assert f"group file {file}: nobody listed in it answers: the service has probably ended; start it again" in error
        (workdir / "join.json").write_text(json.dumps(flock("join", file, group)))
        error = refused("bedrock", PROTOCOL, "-c", "join.json")
        assert "no member of the group answers" in error
        assert 'start the first server of a group with bootstrap "self", or all of them with ["join", "self"]' in error
    (workdir / "join.json").write_text(json.dumps(flock("join", "missing.json")))
    error = refused("bedrock", PROTOCOL, "-c", "join.json")
    assert "missing.json: cannot open" in error and 'start the first server of a group with bootstrap "self"' in error


def test_a_misspelt_library_and_a_type_without_its_library(workdir):
    for wrong, right in [
        ("libyokn-bedrock-module.so", "libyokan-bedrock-module.so"),
        ("libflock-bedrok-module.so", "libflock-bedrock-module.so"),
        ("libwarabi-bedrock-module", "libwarabi-bedrock-module.so"),
    ]:
        (workdir / "config.json").write_text(json.dumps({"libraries": [wrong]}))
        error = refused("bedrock", PROTOCOL, "-c", "config.json")
        assert f'config.json: libraries[0]: cannot load "{wrong}": ' in error and "(installed: libabt-io-" in error
        assert f'did you mean "{right}"?' in error
    for kind, library in [("yokan", "libyokan-bedrock-module.so"), ("abt_io", "libabt-io-bedrock-module.so")]:
        (workdir / "config.json").write_text(json.dumps({"providers": [{"name": "a", "type": kind}]}))
        error = refused("bedrock", PROTOCOL, "-c", "config.json")
        assert f'unknown provider type "{kind}" (known: none); add "{library}" to "libraries"' in error
    (workdir / "config.json").write_text(json.dumps({"providers": [{"name": "a", "type": "thing"}]}))
    assert 'is its library listed in "libraries"?' in refused("bedrock", PROTOCOL, "-c", "config.json")


def test_a_question_for_something_that_is_not_there(servers):
    server = servers.bedrock({})
    for question, problem in [
        ("$__config__.margoo", 'column 13: no member "margoo" (members: bedrock, libraries, margo, providers; did you mean'),
        ("$__config__.margo.mercury.adress", 'did you mean "address"?'),
        ("$__config.margo", 'no variable "__config" (variables: __config__, MPI_COMM_WORLD; did you mean "__config__"?)'),
        ("$__config__.providers[3].name", "no element 3 among 0"),
    ]:
        result = tool("query", "-a", server.address, "-e", question)
        assert result.returncode == 255 and problem in result.stderr and server.address in result.stderr, result
    for question in ("$MPI_COMM_WORLD.rank", "null"):
        result = tool("query", "-a", server.address, "-e", question)
        assert result.returncode == 0 and json.loads(result.stdout) == {server.address: None}


RANK_0 = "$MPI_COMM_WORLD.rank == 0"


def started_with_condition(servers, condition, name=None, env=None):
    """What a server says that has a pool on a condition, and whether it has the pool."""
    pools = [{"name": "extra", "__if__": condition}]
    arguments = ["--name", name] if name else []
    server = servers.bedrock({"margo": {"argobots": {"pools": pools}}}, arguments=arguments, env=env)
    config = json.loads(tool("query", "-a", server.address).stdout)[server.address]
    return server.output(), "extra" in [pool["name"] for pool in config["margo"]["argobots"]["pools"]]


def test_a_member_of_a_launch_that_is_started_alone_is_not_rank_0_in_silence(servers):
    warning = 'no launcher has started server "2": $MPI_COMM_WORLD is null, null == 0 is true, and this condition holds'
    for start in ({"name": "2"}, {"env": {"DANGO_SERVER_NAME": "2"}}):
        output, there = started_with_condition(servers, RANK_0, **start)
        assert there and f"margo.argobots.pools[0].__if__: {warning}" in output
    for start in ({}, {"name": "0"}, {"env": {"PMI_RANK": "0", "PMI_SIZE": "2"}, "name": "2"}):
        output, there = started_with_condition(servers, RANK_0, **start)
        assert there and "no launcher" not in output
    output, there = started_with_condition(servers, f"{RANK_0} && $MPI_COMM_WORLD.size > 0", name="2")
    assert not there and "this condition does not hold" in output


def test_a_misspelt_variable_in_a_condition(servers):
    output, there = started_with_condition(servers, "$MPI_COM_WORLD.rank == 0")
    assert there and 'no variable "MPI_COM_WORLD" (variables: MPI_COMM_WORLD; did you mean "MPI_COMM_WORLD"?)' in output
    output, there = started_with_condition(servers, "$MPI_COMM_WORLD.rang == 1", env={"PMI_RANK": "1", "PMI_SIZE": "2"})
    assert not there and "did you mean \"rank\"?); taken as null, so that this condition does not hold" in output


def test_what_dead_writers_of_a_group_file_leave_goes_with_the_next_one(servers, workdir):
    old, young, backup = (workdir / f"group.json{tail}" for tail in (".new-a1B2c3", ".new-d4E5f6", ".backup"))
    for path in (old, young, backup):
        path.write_text('{"memb')
    for path in (old, backup):
        os.utime(path, (time.time() - 100, time.time() - 100))
    server = servers.bedrock(flock("self", "group.json"))
    assert server.address in (workdir / "group.json").read_text()
    assert not old.exists() and young.exists() and backup.exists()


def test_what_belongs_to_an_option_is_given_without_it(workdir):
    (workdir / "config.json").write_text("{}")
    (workdir / "group.json").write_text("{}")
    for command, option in [
        (["bedrock", "config.json"], "-c"),
        (["bedrock", PROTOCOL, "config.json"], "-c"),
        (["bedrock-query", "group.json"], "-f"),
        (["bedrock-shutdown", PROTOCOL, "group.json"], "-f"),
    ]:
        error = refused(*command)
        assert f'"{command[-1]}" is a file: give it with {option}\n' in error and "\nExample: " in error


def test_topics_that_were_not_meant(servers, workdir):
    servers.bedrock((ROOT / "examples" / "quickstart" / "config.json").read_text())
    options = ["--driver", "mofka", "--driver.group_file", "mofka.json"]
    create = ["diaspora-ctl", "topic", "create", *options, "--name"]
    assert 'there is no topic "shot" (topics: none)' in refused("diaspora-ctl", "consume", *options, "--topic", "shot")
    run([*create, "shots"])
    for command in (["produce", "--topic"], ["consume", "--topic"], ["topic", "positions", "--name"],
                    ["topic", "complete", "--name"], ["topic", "delete", "--name"]):
        error = refused("diaspora-ctl", *command, "shot", *options)
        assert 'there is no topic "shot" (topics: shots; did you mean "shots"?)' in error
    error = refused(*create, "stored", "--topic.config.partition.path", workdir)
    assert 'unknown field "path"' in error and '"path" is for those of type "default": is "type" wrong, or missing?' in error


def test_command_lines_of_diaspora_ctl():
    for words, problem in [
        (["topic", "lst"], 'unknown command "topic lst" (did you mean "topic list"?)\nTry "diaspora-ctl --help".'),
        ([], "which command?"),
        (["topic", "list"], 'as in "--driver mofka --driver.group_file mofka.json", here or in DIASPORA_CTL_DRIVER_OPTIONS'),
    ]:
        assert refused("diaspora-ctl", *words).strip().endswith(problem)
    assert run(["diaspora-ctl", "help"]).stdout == run(["diaspora-ctl", "--help"]).stdout
    result = run(["mofka-log", "verfy", "."], check=False)
    assert result.returncode == 2
    assert result.stderr == 'mofka-log: unknown command "verfy" (did you mean "verify"?)\nTry "mofka-log --help".\n'
