"""
What every catalog must keep to, as tests that can be run over yours.

Subclass :class:`CatalogSuite` in a test module and say how a catalog is opened;
if it outlives its process, subclass :class:`DurableCatalogSuite` too::

    class TestMyCatalog(CatalogSuite):
        @pytest.fixture
        async def catalog(self, tmp_path):
            catalog = await MyCatalog.open(tmp_path)
            yield catalog
            await catalog.aclose()

It needs pytest, and pytest-asyncio in auto mode.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from ..agents import MAX_NAME, Agent, Revision, Sort
from ..engine.catalog import Catalog
from ..errors import AgentExists, AgentNotFound, PenstockError, RequestError
from ..requests import Candidate, Tool

__all__ = ["FULL", "CatalogSuite", "DurableCatalogSuite", "names", "whole"]

FULL = Agent(
    "full",
    description="Seats the guests",
    instructions='Be "kind" \\ \u2028 \x00 to Zoë 🎉',
    models=(
        Candidate("first", {"temperature": 0.5, "nested": {"list": [1, 2.5, None, True]}}),
        Candidate("second"),
    ),
    input_schema={"type": "object", "properties": {"z": {"type": "string"}, "a": {"const": 2**70}}},
    output_schema={"$defs": {"x": {"enum": ["a", None]}}, "$ref": "#/$defs/x"},
    tools=(Tool("seat", "Seats one", {"type": "object"}, strict=True, extra={"kind": "function"}),),
    attempts=5,
    examples=0,
    extra={"configuration": {"invocation.cache.ttl": 0}, "role": ""},
)
"""An agent in which everything is said."""


def instructed(text: str) -> Callable[[Agent], Agent]:
    """Return the change that gives an agent these instructions."""
    return lambda agent: replace(agent, instructions=text)


def named(name: str) -> Callable[[Agent], Agent]:
    """Return the change that gives an agent this name."""
    return lambda agent: replace(agent, name=name)


def names(revisions: Sequence[Revision]) -> list[str]:
    return [revision.agent.name for revision in revisions]


async def whole(catalog: Catalog) -> list[list[Revision]]:
    """Return all that is in a catalog: of each agent all revisions, the latest first."""
    found, _ = await catalog.list(sort="created_at", limit=1 << 40)
    return [list((await catalog.revisions(latest.id, limit=1 << 40))[0]) for latest in found]


def output_schema(revision: Revision) -> dict[str, Any]:
    """Return its schema; the one that it holds, not a copy."""
    assert isinstance(revision.agent.output_schema, dict)
    return revision.agent.output_schema


async def refused(error: type[PenstockError], *calls: Awaitable[object]) -> list[str]:
    """Check that each call raises that error; return what they say."""
    said = []
    for call in calls:
        with pytest.raises(error) as caught:
            await call
        said.append(caught.value.message)
    return said


class CatalogSuite:
    """For any catalog: override :meth:`catalog` with a fixture that yields an empty one."""

    @pytest.fixture
    async def catalog(self) -> Catalog:
        raise NotImplementedError("override this fixture")

    # Creating

    async def test_what_is_created_is_there(self, catalog: Catalog) -> None:
        created = await catalog.create(FULL)
        assert created.agent == FULL and created.number == 1
        assert created.created_at == created.updated_at > 1.7e9
        assert str(UUID(created.id, version=4)) == created.id != created.revision_id
        assert str(UUID(created.revision_id, version=4)) == created.revision_id
        for found in (
            await catalog.get(created.id),
            await catalog.get(created.id, created.revision_id),
            await catalog.by_name("full"),
        ):
            assert found == created
        assert await whole(catalog) == [[created]]

    async def test_what_was_left_out_stays_so(self, catalog: Catalog) -> None:
        await catalog.create(Agent("a"))
        agent = (await catalog.by_name("a")).agent
        assert agent == Agent("a") and agent.output_schema is UNSET

    async def test_the_order_of_members_is_kept(self, catalog: Catalog) -> None:
        await catalog.create(FULL)
        schema = (await catalog.by_name("full")).agent.input_schema
        assert isinstance(schema, dict) and list(schema["properties"]) == ["z", "a"]

    async def test_a_name_is_taken_once(self, catalog: Catalog) -> None:
        first = await catalog.create(Agent("a"))
        with pytest.raises(AgentExists, match="'a'") as caught:
            await catalog.create(Agent("a", instructions="other"))
        assert caught.value.field == "name"
        assert await whole(catalog) == [[first]]

    async def test_one_of_many_that_create_the_same_wins(self, catalog: Catalog) -> None:
        found = await asyncio.gather(
            *(catalog.create(Agent("a", instructions=str(n))) for n in range(20)), return_exceptions=True
        )
        assert sum(isinstance(error, AgentExists) for error in found) == 19
        (won,) = (revision for revision in found if isinstance(revision, Revision))
        assert await whole(catalog) == [[won]]

    @pytest.mark.parametrize(
        "name", ["a/b c", "ü🎉", "x'; DROP TABLE agents; --", "n" * MAX_NAME, "%", " ", "a\x00b", "\n"]
    )
    async def test_any_text_is_a_name(self, catalog: Catalog, name: str) -> None:
        other, created = await catalog.create(Agent("other")), await catalog.ensure(Agent(name))
        assert await catalog.by_name(name) == await catalog.ensure(Agent(name)) == created
        assert await catalog.list(name=name) == ([created], 1)
        await catalog.delete(created.id)
        assert await whole(catalog) == [[other]]

    async def test_case_counts(self, catalog: Catalog) -> None:
        for name in ("Ä", "a", "ä", "A"):
            await catalog.create(Agent(name))
        assert (await catalog.by_name("A")).agent.name == "A"
        assert names((await catalog.list())[0]) == ["A", "a", "Ä", "ä"]
        assert names((await catalog.list(name="a"))[0]) == ["a"]

    @pytest.mark.parametrize("name", ["", "n" * (MAX_NAME + 1), "\ud83d"])
    async def test_what_is_no_name(self, catalog: Catalog, name: str) -> None:
        created = await catalog.create(Agent("a"))
        change = catalog.update(created.id, named(name))
        await refused(RequestError, catalog.create(Agent(name)), catalog.ensure(Agent(name)), change)
        await refused(AgentNotFound, catalog.by_name(name))
        assert await whole(catalog) == [[created]]

    async def test_what_would_not_read_back_is_not_stored(self, catalog: Catalog) -> None:
        deep: dict[str, Any] = {}
        for _ in range(5000):
            deep = {"a": deep}
        wrong: Any = None
        for agent in (
            Agent("a", instructions="\ud83d"),
            Agent("a", output_schema=deep),
            Agent("a", instructions=wrong),
            Agent("a", attempts=-1),
        ):
            said = await refused(RequestError, catalog.create(agent), catalog.ensure(agent))
            assert all("'a'" in each for each in said)
        assert await whole(catalog) == []

    # Revising

    async def test_an_update_is_a_new_revision(self, catalog: Catalog) -> None:
        first = await catalog.create(FULL)
        second = await catalog.update(first.id, instructed("other"))
        assert second.agent == replace(FULL, instructions="other")
        assert (second.id, second.number, second.created_at) == (first.id, 2, first.created_at)
        assert second.revision_id != first.revision_id and second.updated_at >= first.updated_at
        assert await catalog.get(first.id) == await catalog.by_name("full") == second
        assert await catalog.get(first.id, first.revision_id) == first
        assert await catalog.get(first.id, second.revision_id) == second
        assert await whole(catalog) == [[second, first]]

    async def test_an_update_that_changes_nothing_stores_nothing(self, catalog: Catalog) -> None:
        first = await catalog.create(FULL)
        assert await catalog.update(first.id, lambda agent: agent) == first
        assert await whole(catalog) == [[first]]

    async def test_going_back_is_a_new_revision_too(self, catalog: Catalog) -> None:
        first = await catalog.create(FULL)
        await catalog.update(first.id, instructed("other"))
        third = await catalog.update(first.id, lambda _: first.agent)
        assert third.agent == first.agent
        assert third.number == 3 and third.revision_id != first.revision_id

    async def test_a_change_that_fails_stores_nothing(self, catalog: Catalog) -> None:
        first = await catalog.create(FULL)

        def fail(agent: Agent) -> Agent:
            raise KeyError(agent.name)

        with pytest.raises(KeyError, match="full"):
            await catalog.update(first.id, fail)
        await refused(RequestError, catalog.update(first.id, instructed("\ud83d")))
        assert await whole(catalog) == [[first]]
        assert (await catalog.update(first.id, instructed("other"))).number == 2

    async def test_concurrent_updates_lose_nothing(self, catalog: Catalog) -> None:
        created = await catalog.create(Agent("a"))

        def signed(n: int) -> Callable[[Agent], Agent]:
            return lambda agent: replace(agent, instructions=f"{agent.instructions},{n}")

        stored = await asyncio.gather(*(catalog.update(created.id, signed(n)) for n in range(50)))
        latest = await catalog.get(created.id)
        assert sorted(latest.agent.instructions[1:].split(",")) == sorted(map(str, range(50)))
        assert sorted(revision.number for revision in stored) == [*range(2, 52)]
        (revisions,) = await whole(catalog)
        assert [revision.number for revision in revisions] == [*range(51, 0, -1)]

    async def test_renamed(self, catalog: Catalog) -> None:
        first, other = await catalog.create(Agent("a")), await catalog.create(Agent("b"))
        assert "'b'" in (await refused(AgentExists, catalog.update(first.id, named("b"))))[0]
        second = await catalog.update(first.id, named("c"))
        assert second.id == first.id and await catalog.by_name("c") == second
        await refused(AgentNotFound, catalog.by_name("a"))
        assert (await catalog.get(first.id, first.revision_id)).agent.name == "a"
        anew = await catalog.ensure(Agent("a"))  # the name is free again
        assert anew.id != first.id and anew.number == 1
        assert await whole(catalog) == [[second, first], [other], [anew]]

    # Ensuring

    async def test_ensure_creates_and_revises_and_lets_be(self, catalog: Catalog) -> None:
        first = await catalog.ensure(FULL)
        assert first.agent == FULL and first.number == 1
        assert await catalog.ensure(FULL) == first
        second = await catalog.ensure(replace(FULL, instructions="other"))
        assert (second.id, second.number) == (first.id, 2)
        assert await catalog.ensure(replace(FULL, instructions="other")) == second
        third = await catalog.ensure(FULL)
        assert (third.number, third.agent) == (3, FULL)
        assert await whole(catalog) == [[third, second, first]]

    async def test_ensure_sees_what_others_did(self, catalog: Catalog) -> None:
        first = await catalog.create(Agent("a"))
        assert await catalog.ensure(Agent("a")) == first
        second = await catalog.update(first.id, instructed("other"))
        assert await catalog.ensure(Agent("a", instructions="other")) == second
        assert (await catalog.ensure(Agent("a"))).number == 3
        renamed = await catalog.update(first.id, named("b"))
        anew = await catalog.ensure(Agent("a"))
        assert anew.id != first.id and await catalog.ensure(Agent("b")) == renamed
        await catalog.delete(anew.id)
        assert (await catalog.ensure(Agent("a"))).id not in (first.id, anew.id)

    @pytest.mark.parametrize(
        ("one", "other"),
        [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1.0})],
    )
    async def test_schemas_that_read_differently_differ(
        self, catalog: Catalog, one: dict[str, Any], other: dict[str, Any]
    ) -> None:
        first = await catalog.ensure(Agent("a", output_schema=one))
        second = await catalog.ensure(Agent("a", output_schema=other))
        assert second.number == 2 and repr(second.agent.output_schema) == repr(other)
        assert repr(first.agent.output_schema) == repr(one)

    async def test_ensured_by_many_at_once(self, catalog: Catalog) -> None:
        found = await asyncio.gather(*(catalog.ensure(Agent(f"a{n % 5}")) for n in range(100)))
        assert len({revision.revision_id for revision in found}) == 5
        assert [[revision.number for revision in each] for each in await whole(catalog)] == [[1]] * 5

    async def test_ensured_and_updated_by_many_at_once(self, catalog: Catalog) -> None:
        """Each gets a revision that says what it asked for, and numbers stay dense."""
        created = await catalog.create(Agent("a"))
        texts = [str(n % 7) for n in range(100)]
        found = await asyncio.gather(
            *(
                catalog.ensure(Agent("a", instructions=text))
                if n % 2
                else catalog.update(created.id, instructed(text))
                for n, text in enumerate(texts)
            )
        )
        assert [revision.agent.instructions for revision in found] == texts
        (revisions,) = await whole(catalog)
        assert [revision.number for revision in revisions] == [*range(len(revisions), 0, -1)]
        assert {revision.revision_id for revision in found} <= {each.revision_id for each in revisions}

    # What is stored is nobody's object

    async def test_what_was_given_can_be_changed_without_harm(self, catalog: Catalog) -> None:
        schema = {"type": "object"}
        created = await catalog.create(Agent("a", output_schema=schema))
        ensured = await catalog.ensure(Agent("b", output_schema=schema))
        await catalog.update(created.id, lambda agent: replace(agent, input_schema=schema))
        schema["type"] = "changed by its owner"
        assert "owner" not in repr(await whole(catalog))
        assert created.agent.output_schema == ensured.agent.output_schema == {"type": "object"}

    async def test_what_is_returned_can_be_changed_without_harm(self, catalog: Catalog) -> None:
        agent = Agent("a", output_schema={"type": "object"})

        def spoil(given: Agent) -> Agent:
            assert isinstance(given.output_schema, dict)
            given.output_schema["type"] = "spoilt"
            raise KeyError

        created = await catalog.create(agent)
        for revision in (
            created,
            await catalog.ensure(agent),
            await catalog.ensure(agent),
            await catalog.get(created.id),
            await catalog.get(created.id, created.revision_id),
            await catalog.by_name("a"),
            (await catalog.list())[0][0],
            (await catalog.revisions(created.id))[0][0],
            await catalog.update(created.id, lambda given: given),
        ):
            assert output_schema(revision) == {"type": "object"}
            output_schema(revision)["type"] = "spoilt"
        with pytest.raises(KeyError):
            await catalog.update(created.id, spoil)
        assert (await catalog.ensure(agent)).revision_id == created.revision_id
        assert (await catalog.get(created.id)).agent == agent

    # Looking up

    async def test_nothing_is_known_of_an_unknown_agent(self, catalog: Catalog) -> None:
        await catalog.create(Agent("a"))
        for id in (str(uuid4()), "", "a", "\ud83d", "'"):
            said = await refused(
                AgentNotFound, catalog.get(id), catalog.get(id, "b"), catalog.revisions(id),
                catalog.update(id, instructed("x")), catalog.delete(id),
            )  # fmt: skip
            assert all(repr(id) in each and "'b'" not in each for each in said)
        assert "named 'b'" in (await refused(AgentNotFound, catalog.by_name("b")))[0]

    async def test_a_revision_belongs_to_its_agent(self, catalog: Catalog) -> None:
        one, other = await catalog.create(Agent("a")), await catalog.create(Agent("b"))
        for revision_id in (other.revision_id, str(uuid4()), "\ud83d"):
            (said,) = await refused(AgentNotFound, catalog.get(one.id, revision_id))
            assert repr(one.id) in said and repr(revision_id) in said

    async def test_lists_the_latest_revisions_in_any_order(self, catalog: Catalog) -> None:
        assert await catalog.list() == ([], 0)
        created = {name: await catalog.create(Agent(name)) for name in ("b", "d", "a", "c")}
        for name in ("d", "b"):
            created[name] = await catalog.update(created[name].id, instructed("new"))
        orders = {"name": "abcd", "created_at": "bdac", "updated_at": "acdb"}
        for sort in get_args(Sort):
            found, count = await catalog.list(sort=sort)
            order = orders[sort.removeprefix("-")]
            if sort.removeprefix("-") != "updated_at" or len({each.updated_at for each in found}) == 4:
                assert names(found) == list(reversed(order) if sort.startswith("-") else order)
            assert count == 4 and all(revision == created[revision.agent.name] for revision in found)
        assert names((await catalog.list())[0]) == ["a", "b", "c", "d"]

    @pytest.mark.parametrize("sort", get_args(Sort))
    async def test_lists_a_page(self, catalog: Catalog, sort: Sort) -> None:
        await asyncio.gather(
            *(catalog.create(Agent(f"{kind}{n}")) for n in range(10) for kind in ("x%", "y_"))
        )
        everything, _ = await catalog.list(sort=sort)
        for name, all_ in {
            "": everything,
            "y": [each for each in everything if each.agent.name.startswith("y")],
            "%3": [each for each in everything if each.agent.name == "x%3"],
            "none": [],
            "\ud83d": [],
        }.items():
            for offset, limit in (
                (0, 3),
                (3, 4),
                (len(all_), 5),
                (1 << 80, 1 << 80),
                (-1, 2),
                (0, 0),
                (0, -1),
            ):
                found, count = await catalog.list(name=name, sort=sort, offset=offset, limit=limit)
                start = max(0, offset)
                assert (list(found), count) == (all_[start : start + max(0, limit)], len(all_))

    async def test_lists_a_page_of_revisions(self, catalog: Catalog) -> None:
        created = await catalog.create(Agent("a"))
        await catalog.create(Agent("b"))
        for n in range(9):
            await catalog.update(created.id, instructed(str(n)))
        for offset, limit in ((0, 3), (3, 4), (9, 5), (10, 5), (1 << 80, 1 << 80), (-1, 2), (0, 0), (0, -1)):
            found, count = await catalog.revisions(created.id, offset, limit)
            start = max(0, offset)
            assert [each.number for each in found] == [*range(10, 0, -1)][start : start + max(0, limit)]
            assert count == 10
        (fourth,), count = await catalog.revisions(created.id, count - 4, 1)
        assert fourth.number == 4

    # Deleting

    async def test_a_deleted_agent_is_not_there(self, catalog: Catalog) -> None:
        first, kept = await catalog.create(Agent("a")), await catalog.create(Agent("b"))
        await catalog.update(first.id, instructed("other"))
        await catalog.delete(first.id)
        await refused(
            AgentNotFound, catalog.get(first.id), catalog.get(first.id, first.revision_id),
            catalog.by_name("a"), catalog.revisions(first.id),
            catalog.update(first.id, instructed("again")), catalog.delete(first.id),
        )  # fmt: skip
        assert await catalog.list() == ([kept], 1)
        anew = await catalog.create(Agent("a"))
        assert anew.id != first.id and await whole(catalog) == [[kept], [anew]]

    async def test_deleted_in_the_middle_of_updates(self, catalog: Catalog) -> None:
        created = await catalog.create(Agent("a"))
        work: list[Awaitable[Any]] = [
            catalog.update(created.id, instructed("before")),
            catalog.delete(created.id),
            catalog.update(created.id, instructed("after")),
            catalog.ensure(Agent("a", instructions="before")),
        ]
        before, deleted, after, ensured = await asyncio.gather(*work, return_exceptions=True)
        assert isinstance(before, Revision) and isinstance(ensured, Revision)
        assert before.number == 2 and deleted is None and isinstance(after, AgentNotFound)
        assert ensured.id != created.id and await whole(catalog) == [[ensured]]

    # All at once

    async def test_a_thousand_steps_at_random(self, catalog: Catalog) -> None:
        dice = random.Random(0)
        model: dict[str, list[Revision]] = {}  # by name, the latest last
        for _ in range(1000):
            name, text = dice.choice("abcde"), dice.choice("xyz")
            held = model.get(name)
            match dice.choice(["create", "ensure", "ensure", "update", "update", "rename", "delete"]):
                case "create" if held is None:
                    model[name] = [await catalog.create(Agent(name, instructions=text))]
                case "ensure":
                    _add(model, name, await catalog.ensure(Agent(name, instructions=text)))
                case "update" if held:
                    _add(model, name, await catalog.update(held[0].id, instructed(text)))
                case "rename" if held and (new := dice.choice("abcde")) not in model:
                    model[new] = [*model.pop(name), await catalog.update(held[0].id, named(new))]
                case "delete" if held and dice.random() < 0.2:
                    await catalog.delete(held[0].id)
                    del model[name]
        found = await whole(catalog)
        assert {each[0].agent.name: each for each in found} == {
            name: revisions[::-1] for name, revisions in model.items()
        }
        for name, revisions in model.items():
            assert [each.number for each in revisions] == [*range(1, len(revisions) + 1)]
            assert [each.updated_at for each in revisions] == sorted(each.updated_at for each in revisions)
            assert await catalog.by_name(name) == revisions[-1]


def _add(model: dict[str, list[Revision]], name: str, revision: Revision) -> None:
    """Take note of what was returned, which is the latest revision or a new one that differs from it."""
    held = model.setdefault(name, [])
    if not held or revision != held[-1]:
        assert not held or revision.agent != held[-1].agent
        held.append(revision)


class DurableCatalogSuite:
    """For a catalog that outlives its process: override :meth:`opened`, which always opens the same one."""

    @pytest.fixture
    def opened(self) -> Callable[[], AbstractAsyncContextManager[Catalog]]:
        raise NotImplementedError("override this fixture")

    async def test_everything_is_there_again(
        self, opened: Callable[[], AbstractAsyncContextManager[Catalog]]
    ) -> None:
        async with opened() as catalog:
            first = await catalog.create(FULL)
            gone, other = await catalog.create(Agent("gone")), await catalog.ensure(Agent("other"))
            await catalog.update(first.id, instructed("other"))
            await catalog.delete(gone.id)
            before = await whole(catalog)
        async with opened() as catalog:
            assert await whole(catalog) == before
            assert await catalog.ensure(Agent("other")) == other
            await refused(AgentNotFound, catalog.get(gone.id))
            third = await catalog.ensure(FULL)
            assert (third.id, third.number, third.created_at) == (first.id, 3, first.created_at)
        async with opened() as catalog:
            assert await whole(catalog) == [[third, *before[0]], before[1]]
