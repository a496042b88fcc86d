"""Stories of the published Python client of flowthings.io, told against a running server.

    python stories.py STORY HOST ACCOUNT TOKEN VERSION

Nothing of the client is replaced: its own arguments say where the server is. Ends with status 0 if
everything was as the client's users expect it, else with what was not.
"""

import collections
import collections.abc
import sys
import threading

# The client is older than Python 3.10, which has it in `collections.abc` only.
collections.MutableMapping = collections.abc.MutableMapping

from flowthings import (  # noqa: E402
    AGE, API, EXISTS, M, FlowThingsBadRequest, FlowThingsException, FlowThingsForbidden, FlowThingsNotFound, Token, mem,
)

DEADLINE_S = 20
story, host, account, token, version = sys.argv[1:]


def client(token=token):
    return API(Token(account, token), secure=False, host=host, ws_host=host, version=version)


def refused(kind, ask):
    try:
        answer = ask()
    except FlowThingsException as error:
        assert type(error) is kind, repr(error)
        assert error.errors and all(isinstance(text, str) for text in error.errors), error.errors
        return
    raise AssertionError("not refused: %r" % (answer,))


def path(name):
    return "/%s/%s" % (account, name)


def flows():
    api = client()
    flow = api.flow.create({"path": path("kitchen"), "description": "warm", "capacity": 100})
    assert flow["path"] == path("kitchen") and flow["capacity"] == 100, flow
    assert api.flow.read(flow["id"]) == flow
    assert api.flow.find(flow["id"]) == flow
    assert api.flow.find(mem.path == path("kitchen")) == [flow]
    assert api.flow.find(mem.path.re("/kit", "i"), mem.capacity > 99, limit=3) == [flow]
    assert api.flow.find(mem.capacity > 100) == []
    assert api.flow.find([flow["id"]]) == {flow["id"]: flow}
    changed = api.flow.save(M(flow, description="warmer"))
    assert (changed["id"], changed["description"]) == (flow["id"], "warmer"), changed
    # The whole model goes back, with what only the server writes.
    assert api.flow.save(dict(changed, description="warm"))["description"] == "warm"
    refused(FlowThingsException, lambda: api.flow.create({"path": path("kitchen")}))
    api.flow.delete(flow["id"])
    refused(FlowThingsNotFound, lambda: api.flow.read(flow["id"]))
    assert api.flow.read_or_else(flow["id"], "nothing") == "nothing"


def drops():
    api = client()
    flow = api.flow.create({"path": path("cellar")})["id"]
    cellar = api.drop(flow)
    first = cellar.create({"elems": {"t": 8, "who": "o'hara"}, "fhash": "a"})
    assert first["flowId"] == flow and first["elems"] == {"t": 8, "who": "o'hara"}, first
    second = api.drop.create({"path": path("cellar"), "elems": {"t": 9}})
    assert second["path"] == path("cellar"), second
    both = cellar.create([{"elems": {"t": 10}}, {"elems": {"t": 11}}])
    assert [drop["elems"]["t"] for drop in both] == [10, 11], both
    refused(FlowThingsException, lambda: cellar.create({"elems": {"t": 8}, "fhash": "a"}))
    refused(FlowThingsBadRequest, lambda: cellar.create({"elems": 8}))

    def warm(drops):
        return [drop["elems"]["t"] for drop in drops]

    assert warm(cellar.find()) == [11, 10, 9, 8]
    assert warm(cellar.find(mem.t > 8, limit=2)) == [11, 10]
    assert warm(cellar.find(mem.who == "o'hara", EXISTS("t"), AGE < 600000)) == [8]
    assert warm(cellar.find(mem.elems.t.IN(9, 10), order="asc", start=1)) == [10]
    assert cellar.find(only=("flowId", "elems"), limit=1) == [{"streamId": flow, "flowId": flow, "elems": {"t": 11}}]
    found, references = cellar.find(refs=True, limit=1)
    assert warm(found) == [11] and references[flow]["path"] == path("cellar"), references
    read = cellar.read(first["id"])
    assert read["fhash"] == "a" and read["flowId"] == flow, read
    assert cellar.find([first["id"], second["id"]])[second["id"]]["elems"] == {"t": 9}
    refused(FlowThingsException, lambda: cellar.update({"id": first["id"], "elems": {"t": 0}}))
    cellar.delete(first["id"])
    refused(FlowThingsNotFound, lambda: cellar.read(first["id"]))
    cellar.delete_all()
    assert cellar.find() == []
    refused(FlowThingsBadRequest, lambda: cellar.find(limit="many"))
    refused(FlowThingsBadRequest, lambda: cellar.find_many(filter="t >"))


def multi_find():
    api = client()
    ids = []
    for name in ("left", "right"):
        ids.append(api.flow.create({"path": path(name)})["id"])
        for n in range(3):
            api.drop(ids[-1]).create({"elems": {"n": n, "side": name}})
    found = api.drop.request("MGET", data=[
        {"flowId": ids[0], "params": {"limit": 2}},
        {"flowId": ids[1], "params": {"filter": str(mem.n == 0), "limit": 5}},
    ])
    numbers = {flow: [drop["elems"]["n"] for drop in drops] for flow, drops in found.items()}
    assert numbers == {ids[0]: [2, 1], ids[1]: [0]}, found
    assert list(api.flow.find(ids)) == ids
    # Ids are known by the letter that they had.
    older = "f" + ids[0][1:]
    assert list(api.drop.request("MGET", data=[{"flowId": older}])) == [older]


def aggregate():
    api = client()
    flow = api.drop(api.flow.create({"path": path("weather")})["id"])
    flow.create([
        {"elems": {"town": town, "t": t}} for town, t in (("Ulm", 10), ("Ulm", 20), ("Bonn", 5), ("Bonn", 6), ("Köln", -1))
    ])
    rows = flow.aggregate(
        ["$avg:t", "$max:t", "$count", "$avg:frost"],
        group_by=["town"], filter=mem.t < 20, rules={"frost": mem.t < 0}, sorts=["$avg:t:desc"],
    )
    told = [(row["id"]["town"], row["$avg:t"], row["$max:t"], row["$count"], row["$avg:frost"]) for row in rows]
    assert told == [("Ulm", 10, 10, 1, 0), ("Bonn", 5.5, 6, 2, 0), ("Köln", -1, -1, 1, 1)], rows
    (row,) = flow.aggregate(["$count", "$sum:t"], group_by=["$hour"])
    assert sorted(row["id"]) == ["$day", "$hour", "$month", "$year"] and row["$sum:t"] == 40, row
    refused(FlowThingsBadRequest, lambda: flow.aggregate(["t"]))


def tokens():
    api = client()
    api.flow.create({"path": path("house")})
    inner = api.flow.create({"path": path("house/door")})["id"]
    api.flow.create({"path": path("garden")})
    made = api.token.create({"paths": {path("house"): {"dropRead": True, "dropWrite": False}}, "duration": 3600000})
    assert made["paths"] == {path("house"): {"dropRead": True, "dropWrite": False}}, made
    assert len(made["id"]) == 25 and 0 < made["expiresInMs"] <= 3600000, made
    assert api.token.read(made["id"])["paths"] == made["paths"]
    assert [token["id"] for token in api.token.find()].count(made["id"]) == 1
    api.drop(inner).create({"elems": {"open": True}})
    held = client(made["tokenString"])
    # A path is itself and all below.
    assert [flow["path"] for flow in held.flow.find()] == [path("house"), path("house/door")]
    assert held.drop(inner).find()[0]["elems"] == {"open": True}
    refused(FlowThingsForbidden, lambda: held.drop.create({"path": path("house"), "elems": {}}))
    refused(FlowThingsForbidden, lambda: held.flow.create({"path": path("house/window")}))
    refused(FlowThingsForbidden, lambda: held.token.create({"paths": made["paths"]}))
    api.token.delete(made["id"])
    refused(FlowThingsNotFound, lambda: api.token.read(made["id"]))
    refused(FlowThingsException, lambda: held.flow.find())
    refused(FlowThingsException, lambda: client("x" * 32).flow.find())


def socket():
    api = client()
    flow = api.flow.create({"path": path("bell")})["id"]
    told, more = [], threading.Condition()

    def tell(*what):
        with more:
            told.append(what)
            more.notify_all()

    def until(count):
        with more:
            assert more.wait_for(lambda: len(told) >= count, DEADLINE_S), told
            return told[count - 1]

    ws = api.websocket.connect(
        on_open=lambda ws: tell("open"),
        on_message=lambda ws, resource, value: tell(resource, value["flowId"], value["path"], value["elems"]["n"]),
        on_error=lambda ws, error: tell("error", error),
    )
    threading.Thread(target=ws.run, daemon=True).start()
    assert until(1) == ("open",)
    ws.send({"type": "heartbeat"})
    ws.subscribe(path("bell"), lambda ws, body: tell("subscribed", body))
    assert until(2) == ("subscribed", {})
    # Once more, by its id: still one copy of each.
    ws.subscribe(flow, lambda ws, body: tell("again", body))
    assert until(3) == ("again", {})
    for n in range(3):
        api.drop(flow).create({"elems": {"n": n}})
    for n in range(3):
        assert until(4 + n) == (flow, flow, path("bell"), n)
    # What is said without a callback has no number, and is acknowledged with null.
    ws.send({"object": "drop", "type": "create", "flowId": flow, "value": {"elems": {"n": 3}}})
    assert until(7) == (flow, flow, path("bell"), 3)
    ws.send({"object": "drop", "type": "findmany", "flowId": flow, "options": {"limit": 1}},
            lambda ws, body: tell("found", [drop["elems"]["n"] for drop in body]))
    assert until(8) == ("found", [3])
    ws.unsubscribe(flow, lambda ws, body: tell("unsubscribed", body))
    assert until(9) == ("unsubscribed", {})
    api.drop(flow).create({"elems": {"n": 4}})
    ws.unsubscribe(path("bell"), lambda ws, body: tell("quiet", body))
    assert until(10) == ("quiet", {})
    assert len(told) == 10, told


{"flows": flows, "drops": drops, "multi_find": multi_find, "aggregate": aggregate, "tokens": tokens, "socket": socket}[story]()
