"""Real bedrock daemons: start, query, shut down, and what remains after every kind of failure."""

import json
import os
import re
import signal
import time

import pytest

from support import BUILD, PROTOCOL, SLOWNESS, run, wait_until

TEST_LIBRARY = str(BUILD / "tests" / "libtest-bedrock-module.so")


def thing(name, **more):
    return {"name": name, "type": "thing", **more}


def things(*providers, **more):
    return {"libraries": [TEST_LIBRARY], "providers": list(providers), **more}


def query(*arguments, **options):
    return run(["bedrock-query", PROTOCOL, *arguments], **options)


def config_of(server):
    return json.loads(query("-a", server.address).stdout)[server.address]


def failed_start(workdir, config, *arguments, protocol=PROTOCOL):
    """Standard error of a daemon that does not start; it must have ended with status 1 and said one line."""
    path = workdir / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    result = run(["bedrock", *([protocol] if protocol else []), "-c", "config.json", *arguments], check=False)
    assert result.returncode == 1, result.stderr
    assert result.stderr.splitlines()[-1].startswith("bedrock: ")
    return result.stderr


def write_group(path, *addresses):
    members = [{"address": address, "provider_id": 1} for address in addresses]
    path.write_text(json.dumps({"members": members, "metadata": {}}))


def test_an_empty_configuration_runs(servers):
    server = servers.bedrock({})
    config = config_of(server)
    assert list(config) == ["bedrock", "libraries", "margo", "providers"]
    assert config["bedrock"] == {"dependency_resolution_timeout": 30.0, "pool": "__primary__", "provider_id": 0}
    assert config["libraries"] == [] and config["providers"] == []
    assert config["margo"]["mercury"]["address"] == server.address
    server.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(servers, number):
    server = servers.bedrock(things(thing("a"), thing("b")), arguments=["-v", "debug"])
    server.signal(number)
    assert server.wait() == 0
    output = server.output()
    assert output.index('destroying provider "b"') < output.index('destroying provider "a"')


def test_signals_within_a_second_are_one_request(servers):
    """While the end takes long: what comes at once is passed over, what comes later ends the process."""
    server = servers.bedrock(things(thing("a")), env={"THING_SLOW_END_MS": "300000"})
    start = time.monotonic()
    server.signal(signal.SIGTERM)
    server.wait_for_output("shutting down")
    wait_until(lambda: server.signal(signal.SIGTERM) or server.popen.poll() is not None, "the end")
    assert server.wait() == -signal.SIGTERM
    assert time.monotonic() - start >= 1


@pytest.mark.skipif(PROTOCOL == "na+sm", reason="na+sm has no IP addresses")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_client_reaches_both_families_of_addresses(servers, host):
    if host == "[::1]" and not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this machine has no IPv6")
    server = servers.bedrock({}, protocol=f"{PROTOCOL}://{host}")
    assert config_of(server)["margo"]["mercury"]["address"] == server.address


def test_a_client_shuts_down_all_that_it_can_reach(servers, workdir):
    first, second = servers.bedrock({}), servers.bedrock({"margo": {"rpc_thread_count": 2}})
    gone = servers.bedrock({})
    gone.kill()
    write_group(workdir / "group.json", first.address, gone.address)
    result = run(["bedrock-shutdown", PROTOCOL, "-a", second.address, "-f", "group.json"], check=False)
    assert result.returncode == 1 and gone.address in result.stderr
    assert first.wait() == 0 and second.wait() == 0


def test_query_shows_every_member(servers, workdir):
    daemons = [servers.bedrock(things(thing(f"t{i}"))) for i in range(3)]
    write_group(workdir / "group.json", *(d.address for d in daemons), daemons[0].address)
    output = query("-f", "group.json", "-p").stdout
    document = json.loads(output)
    assert sorted(document) == sorted(d.address for d in daemons)
    assert [document[d.address]["providers"][0]["name"] for d in daemons] == ["t0", "t1", "t2"]
    scheme = re.escape(PROTOCOL.split(":")[0])
    assert re.search(rf'^    "{scheme}://', output, re.M) and re.search(r'^        "bedrock"', output, re.M)
    assert '"dependencies": {},' in output and '"tags": [],' in output
    names = json.loads(query("-f", "group.json", "-e", "$__config__.providers[0].name").stdout)
    assert sorted(names.values()) == ["t0", "t1", "t2"]


def test_effective_configuration_starts_the_same_again(servers, workdir):
    config = things(
        thing("a", tags=["x"]),
        thing("b", provider_id=9, config={"size": 3}, dependencies={"friends": ["a", "a@local"], "pool": "io"}),
        margo={
            "use_progress_thread": True,
            "rpc_thread_count": 1,
            "argobots": {"pools": [{"name": "io"}], "xstreams": [{"scheduler": {"pools": ["io"]}}]},
        },
    )
    first = servers.bedrock(config, arguments=["-o", "effective.json"])
    shown = config_of(first)
    first.stop()
    effective = json.loads((workdir / "effective.json").read_text())
    assert effective == shown
    effective["providers"][1]["dependencies"]["friends"] = ["a", "a@local"]
    second = servers.bedrock(effective)
    again = config_of(second)
    for document in (shown, again):
        document["margo"]["mercury"].pop("address")
        document["providers"][1]["dependencies"].pop("friends")
    assert again == shown


def test_configuration_from_standard_input(workdir):
    result = run(["bedrock", "na+sm", "--stdin"], stdin='{"providers": 3}', check=False)
    assert result.returncode == 1
    assert "bedrock: <stdin>: providers: expected an array, got integer" in result.stderr


def test_messages_carry_the_name_of_the_file(workdir):
    io = {"argobots": {"pools": [{"name": "io_pool"}]}}
    error = failed_start(workdir, things(thing("a"), thing("b", dependencies={"pool": "io_pol"}), margo=io))
    assert (
        'bedrock: config.json: providers[1].dependencies.pool: no pool named "io_pol" '
        '(pools: io_pool, __primary__; did you mean "io_pool"?)' in error
    )
    assert "config.json: line 1, column 2: invalid JSON" in failed_start(workdir, "{bad")
    assert "missing.json" in run(["bedrock", "na+sm", "-c", "missing.json"], check=False).stderr


@pytest.mark.parametrize("moment, order", [("create", "a"), ("ready", "ba")])
def test_a_failed_start_undoes_what_was_done(workdir, moment, order):
    before = set(os.listdir(workdir))
    config = things(thing("a"), thing("b", config={"fail": moment}))
    error = failed_start(workdir, config, "-v", "debug", "-o", "out.json")
    assert 'config.json: providers[1] ("b", type "thing"): told to fail' in error
    assert "".join(re.findall(r'destroying provider "(\w)"', error)) == order
    assert set(os.listdir(workdir)) - before == {"config.json"}


def test_no_protocol_and_wrong_protocols(workdir):
    error = failed_start(workdir, {}, protocol=None)
    assert "margo.mercury.address: cannot infer a protocol" in error and "bedrock na+sm -c config.json" in error
    assert "nonsense" in failed_start(workdir, {}, protocol="nonsense")


def test_command_lines_are_checked():
    for words, status, part in [
        (["bedrock", "--confg", "x"], 1, 'unknown option "--confg"'),
        (["bedrock", "--confg", "x"], 1, 'did you mean "config"?'),
        (["bedrock", "-c"], 1, "Example: bedrock na+sm -c config.json"),
        (["bedrock", "-c"], 1, "needs a value"),
        (["bedrock", "-c", "a", "-c", "b"], 1, "given twice"),
        (["bedrock", "na+sm", "tcp"], 1, "one argument too many"),
        (["bedrock", "-v", "loud"], 1, 'no log level "loud"'),
        (["bedrock", "-c", "a", "--stdin"], 255, "exclude each other"),
        (["bedrock", "-jt"], 255, "exclude each other"),
        (["bedrock", "--jx9-context", "x=1"], 255, "for --jx9 only"),
        (["bedrock", "-j"], 255, "not built in"),
        (["bedrock", "-t"], 255, "not built in"),
        (["bedrock-query", "na+sm"], 255, "no address or flock file specified"),
        (["bedrock-query"], 1, "missing argument PROTOCOL"),
        (["bedrock-query", "na+sm", "-a", "x", "-i", "70000"], 1, "not in 0..65534"),
        (["bedrock-query", "na+sm", "-a", "x", "-T", "0"], 1, "not a number of seconds"),
        (["bedrock-shutdown", "na+sm", "-a", "x", "-T", "1s"], 1, "not a number of seconds"),
        (["bedrock-shutdown", "na+sm"], 255, "no address or flock file specified"),
    ]:
        result = run(words, check=False)
        assert result.returncode == status and part in result.stderr, (words, result)
    for program in ("bedrock", "bedrock-query", "bedrock-shutdown", "margo-info"):
        assert run([program, "--help"]).stdout.startswith(f"Usage: {program}")
        assert re.match(r"\d+\.\d+", run([program, "--version"]).stdout)


def test_group_files_that_do_not_work(servers, workdir):
    (workdir / "bad.json").write_text("{")
    (workdir / "empty.json").write_text('{"members": []}')
    gone = servers.bedrock({})
    gone.kill()
    write_group(workdir / "stale.json", gone.address)
    for name, part in [
        ("missing.json", "missing.json"),
        ("bad.json", "bad.json: line 1"),
        ("empty.json", "empty.json: the group has no members"),
        ("stale.json", gone.address),
    ]:
        begin = time.monotonic()
        result = query("-f", name, check=False)
        assert result.returncode == 255 and part in result.stderr and not result.stdout
        assert time.monotonic() - begin < 5 * SLOWNESS


def test_dependencies_on_other_daemons(servers, workdir):
    first = servers.bedrock(things(thing("db", provider_id=4)))
    second = servers.bedrock(things(thing("user", dependencies={"friend": f"db@{first.address}"})))
    assert config_of(second)["providers"][0]["dependencies"] == {"friend": f"thing:4@{first.address}"}

    waiting = {"bedrock": {"dependency_resolution_timeout": 0.2}}
    error = failed_start(workdir, things(thing("user", dependencies={"friend": f"later@{first.address}"}), **waiting))
    assert "config.json: providers[0].dependencies.friend: " in error
    assert f'{first.address}: timed out after 0.2 s waiting for "later"' in error
    first.kill()
    error = failed_start(workdir, things(thing("user", dependencies={"friend": f"db@{first.address}"})))
    assert f"no reply from {first.address}" in error


def test_two_daemons_wait_for_each_other(servers):
    """Each refers to a provider that the other has already: look-ups are answered while providers are created."""
    first = servers.bedrock(things(thing("a")))
    second = servers.bedrock(things(thing("b"), thing("c", dependencies={"friend": f"a@{first.address}"})))
    third = servers.bedrock(things(thing("d", dependencies={"friends": [f"a@{first.address}", f"c@{second.address}"]})))
    assert len(config_of(third)["providers"][0]["dependencies"]["friends"]) == 2


def test_conditions_use_the_rank_of_the_launcher(servers):
    config = things(thing("only_first", __if__="$MPI_COMM_WORLD.rank == 0"), thing("all"))
    ranks = [
        servers.bedrock(config, env={"PMI_RANK": str(rank), "PMI_SIZE": "2"}, name=f"rank-{rank}") for rank in (0, 1)
    ]
    assert [[p["name"] for p in config_of(r)["providers"]] for r in ranks] == [["only_first", "all"], ["all"]]


def test_an_idle_daemon_uses_no_cpu(servers):
    def cpu_time_of(seconds):
        before = server.cpu_time_s()
        time.sleep(seconds)  # the length of the measurement
        return server.cpu_time_s() - before

    server = servers.bedrock({"margo": {"use_progress_thread": True, "rpc_thread_count": 2}})
    query("-a", server.address)
    wait_until(lambda: cpu_time_of(1.0) <= 0.01 * SLOWNESS, "the daemon at rest after a query")
    if SLOWNESS == 1:  # libfabric has buffers of its own
        assert server.resident_bytes() <= (24 if PROTOCOL.startswith("ofi") else 12) << 20


def test_nothing_remains_after_a_crash(servers, workdir):
    def traces():
        shm = {name for name in os.listdir("/dev/shm") if str(server.pid) in name}
        return shm | {line.split()[-1] for line in open("/proc/net/unix") if f"{server.pid}-" in line.split()[-1]}

    server = servers.bedrock({})
    server.kill()
    wait_until(lambda: not traces(), "nothing with the pid of the daemon in /dev/shm and among Unix sockets")


def test_margo_info_tells_what_starts():
    table = run(["margo-info"]).stdout
    assert re.search(r"^na\+sm://\tna\tsm\tYES\tna\+sm://\S+$", table, re.M)
    entries = json.loads(run(["margo-info", "--json"]).stdout)
    assert {e["addr"]: e["result"] for e in entries}["na+sm://"] is True
    assert {e["addr"]: e["result"] for e in entries}["tcp://"] is True
    assert all(e.get("reason") and e["example_runtime_addr"] == "N/A" for e in entries if not e["result"])
    assert [e["index"] for e in entries] == list(range(21)) and entries[0]["addr"] == "ofi+tcp://"
    assert re.search(r"^tcp://\t-\ttcp\tYES\ttcp://\S+:\d+$", table, re.M)
    assert re.search(r"^ofi\+shm://\tofi\tshm\tNO\tN/A\t.*use na\+sm$", table, re.M)
    assert re.search(r"^ucx\+rc://\tucx\trc\tNO\tN/A\tnot supported", table, re.M)
    assert table.index("YES") < table.index("NO\t") and "libdango" in table and "libc.so" not in table
    assert "libc.so" in run(["margo-info", "-l"]).stdout
    single = run(["margo-info", "tcp://127.0.0.1"]).stdout
    assert re.fullmatch(r"tcp://127\.0\.0\.1\tYES\truntime address: tcp://127\.0\.0\.1:\d+\n", single)
    assert run(["margo-info", "nonsense"], check=False).returncode == 255
