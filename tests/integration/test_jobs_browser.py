"""The page "Jobs" in a real Chromium, inside Airflow's own UI: a real API server, a real sign-in, real rows.

Pictures of what the browser shows are written to the folder EYEWALL_TEST_PICTURES, where it is set.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from eyewall.contracts.settings import Settings
from eyewall.db.connect import connected
from eyewall.platform import airflow, postgres
from eyewall.platform.places import Places
from eyewall.platform.ports import Ports
from eyewall.platform.processes import Supervisor

sys.path.append(str(Path(__file__).resolve().parents[1] / "plugins"))
import jobs_rows
from chromium import NETWORK_CHANGED, chromium, visit  # noqa: F401 - a fixture among them

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
USERS = {"admin": "admin", "lookout": "viewer"}
PASSWORD = "four-words-for-tests"
WIDE, NARROW = (1440, 900), (375, 812)


@dataclass(frozen=True)
class Site:
    """A running API server, and the database that its page reads."""

    url: str
    database: str
    store: Path


@pytest.fixture(scope="module")
def site(chromium: Any) -> Iterator[Site]:  # noqa: F811 - first the browser: without it nothing has to be started
    """Airflow's API server alone; nothing else of Airflow's is needed to show a page."""
    with tempfile.TemporaryDirectory(prefix="eyewall-browser-") as name:
        places, ports, store = Places(ROOT, Path(name)), Ports.free(), Path(name) / "store"
        places.make()
        socket = postgres.start(places.postgres)
        supervisor = Supervisor(places.run, places.log, str(places.var))
        try:
            database = postgres.uri(socket, "eyewall")
            with connected(database):
                pass
            with psycopg.connect(database, autocommit=True) as connection:
                jobs_rows.environments(connection)
                jobs_rows.a_day(connection, store)
            outside = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW", "EYEWALL"))}
            outside["EYEWALL_DATABASE_URL"] = database
            environ = airflow.environment(places, Settings(store=str(store)), ports, outside)
            airflow.configure(places, ports, postgres.uri(socket, "airflow", "psycopg2"), cores=1)
            _add_users(places)
            airflow.migrate(places, environ, "test", fresh=True)
            server = next(service for service in airflow.services(environ) if service.name == "api-server")
            supervisor.start(server, places.root)
            site = Site(f"http://127.0.0.1:{ports.airflow}", database, store)
            _wait_for(site.url, supervisor)
            yield site
        finally:
            supervisor.stop(["api-server"])
            postgres.stop(places.postgres)


def _add_users(places: Places) -> None:
    path = places.airflow / "airflow.cfg"
    users = ",".join(f"{name}:{role}" for name, role in USERS.items())
    path.write_text(path.read_text().replace("admin:admin", users))
    places.passwords.write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)) + "\n")


def _wait_for(url: str, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/api/v2/version", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    pytest.fail(f"the API server does not answer: {supervisor.tail('api-server', 20)}")


@dataclass
class Window:
    """One signed-in browser window, and what went wrong in it."""

    page: Any
    complaints: list[str]

    def wide(self) -> list[str]:
        """What makes the page itself scroll sideways, where anything does."""
        return list(
            self.page.evaluate(
                "document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('body *')]"
                ".filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 90))"
            )
        )


def is_an_error(told: Any) -> bool:
    """Whether that line of the console is an error of the page's or the server's."""
    return told.type == "error" and NETWORK_CHANGED not in told.text


@pytest.fixture
def open_window(chromium: Any, site: Site) -> Iterator[Any]:  # noqa: F811
    """A function that signs a user in and gives the window, of that size."""
    contexts = []

    def signed_in(user: str, size: tuple[int, int], scheme: str = "light") -> Window:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda told: complaints.append(told.text) if is_an_error(told) else None)
        page.on("response", lambda got: complaints.append(f"{got.status} {got.url}") if got.status >= 500 else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.set_default_timeout(120_000)  # on a machine that is busy with other tests
        visit(page, f"{site.url}/auth/login?next={site.url}/eyewall/")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: not url.startswith(f"{site.url}/auth/"))
        visit(page, f"{site.url}/eyewall/")
        try:
            page.wait_for_selector("main[aria-busy=false]")
        except Exception as error:
            error.add_note(f"{page.url} shows: {page.inner_text('body')[:500]!r}; complaints: {complaints}")
            raise
        return Window(page, complaints)

    yield signed_in
    for context in contexts:
        context.close()


def picture(page: Any, name: str) -> None:
    """Keep what the window shows, where somebody wants to see it."""
    if folder := os.environ.get("EYEWALL_TEST_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_who_is_not_signed_in_gets_nothing_but_the_way_in(chromium, site):  # noqa: F811
    context = chromium.new_context()
    page = context.new_page()

    answer = visit(page, f"{site.url}/eyewall/")

    assert answer.status == 401
    paths = ("/", "/api/now", "/static/app.js")
    assert {httpx.get(f"{site.url}/eyewall{path}", trust_env=False).status_code for path in paths} == {401}
    page.click("text=Sign in")
    page.fill("input[name=username]", "admin")
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("main[aria-busy=false]")
    assert page.url.startswith(f"{site.url}/eyewall/")
    context.close()


@pytest.mark.parametrize("size", [pytest.param((1440, 1180), id="1440"), pytest.param((375, 1500), id="375")])
def test_the_page_is_in_airflows_navigation_and_lives_in_its_frame(open_window, site, size):
    window = open_window("admin", size)
    window.complaints.clear()

    visit(window.page, f"{site.url}/plugin/jobs")
    frame = window.page.frame_locator("iframe[title=Jobs]")
    frame.locator("main[aria-busy=false]").wait_for()
    frame.get_by_label("Curves and output of job 55").click()
    frame.locator("pre", has_text="epoch  42/60").wait_for()

    assert frame.locator("main h2").all_inner_texts() == ["Running", "GPUs", "Queue"]
    assert window.page.get_by_role("link", name="Jobs").get_attribute("href").endswith("/plugin/jobs")
    assert frame.locator("body").evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert [told for told in window.complaints if "/eyewall/" in told] == []
    picture(window.page, f"airflow-{size[0]}")


#: Part of the page → words that are there when it is.
PARTS = {
    "#/now": "Queue",
    "#/history": "Words in name, owner or command",
    "#/sweeps": "track-lstm-width",
    "#/sweep/1": "Leaderboard",
    "#/sweep/1?plot=slices&all=1": "Parameters",
    "#/job/55": "Curves",
    "#/job/60": "after job 59 (queued)",
    "#/job/99999": "Back to the jobs",
}


@pytest.mark.parametrize("size", [pytest.param(WIDE, id="1440"), pytest.param(NARROW, id="375")])
def test_every_part_fits_without_scrolling_sideways_and_without_an_error(open_window, site, size):
    window = open_window("admin", size)

    too_wide = {}
    for part, sign in PARTS.items():
        visit(window.page, f"{site.url}/eyewall/{part}")
        window.page.get_by_text(sign, exact=True).first.wait_for()
        too_wide[part] = window.wide()
        window.page.mouse.move(0, 0)
        picture(window.page, f"{'-'.join(part.strip('#/').split('/')).replace('?', '-')}-{size[0]}")

    assert too_wide == {part: [] for part in PARTS}
    # A browser itself says that an answer was a 404; that is the one job that is not there.
    assert [told for told in window.complaints if "404" not in told] == []


def test_a_script_that_is_not_given_and_a_server_that_says_nothing_are_told_and_tried_again(open_window, site):
    page = open_window("admin", WIDE).page
    page.clock.install()
    page.route("**/static/charts.js", lambda route: route.abort(), times=1)
    page.reload()
    page.get_by_text("did not give all of this page's scripts").wait_for()
    page.clock.fast_forward(7_000)
    page.wait_for_selector("main[aria-busy=false]")

    page.route("**/api/now", lambda route: None, times=1)  # taken, and never answered
    with page.expect_request("**/api/now"):
        page.clock.fast_forward(3_000)
    page.clock.fast_forward(21_000)
    page.get_by_text("The server does not answer.").wait_for()
    page.clock.fast_forward(7_000)
    page.get_by_text("The server does not answer.").wait_for(state="detached")


def test_a_page_without_its_first_script_says_in_time_what_to_do(open_window, site):
    page = open_window("admin", WIDE).page
    page.route("**/static/start.js", lambda route: route.abort(), times=1)
    page.reload()
    said = "getComputedStyle(document.querySelector('#main p'), '::after').visibility"
    assert page.evaluate(said) == "hidden"

    page.evaluate("document.getAnimations().forEach((waiting) => waiting.finish())")  # as after 20 s

    assert page.evaluate(said) == "visible"
    picture(page, "no-script")


def test_curves_and_output_of_a_running_job_follow_it(open_window, site):
    window = open_window("admin", WIDE)
    page = window.page
    page.get_by_label("Curves and output of job 55").click()
    output = page.locator("pre[aria-label='Output of job 55']")
    output.get_by_text("epoch  42/60").wait_for()
    assert "eyewall-report" not in output.inner_text()
    assert "\x1b" not in output.inner_text()

    with (site.store / "jobs/55/1/log.txt").open("a") as stream:
        stream.write("epoch  43/60  loss <b>0.1999</b>\n")
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO report (attempt, metric, step, value)"
            " SELECT id, 'loss', 43, 0.1999 FROM attempt WHERE job = 55 AND ended_at IS NULL"
        )

    output.get_by_text("loss <b>0.1999</b>").wait_for()
    page.locator("figure.chart:has-text('loss') b", has_text="0.1999").wait_for()
    assert output.evaluate("(pane) => pane.scrollHeight - pane.scrollTop - pane.clientHeight < 8")
    assert window.complaints == []


def test_a_job_is_cancelled_after_a_question_by_keyboard_alone(open_window, site):
    with psycopg.connect(site.database, autocommit=True) as connection:
        job = jobs_rows.submit(connection, "to-be-cancelled", "tracks", priority=9)
    window = open_window("admin", NARROW)
    page = window.page
    button = page.get_by_role("button", name=f"Cancel job {job}, to-be-cancelled")
    button.wait_for()

    button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_text(f"Cancel job {job}, to-be-cancelled?").wait_for()
    page.keyboard.press("Escape")
    assert state_of(site, job) == "queued"
    button.focus()
    page.keyboard.press("Enter")
    page.locator("#ask-yes").focus()
    page.keyboard.press("Enter")

    page.locator("#toast").get_by_text(f"Job {job} is cancelled.").wait_for()
    button.wait_for(state="detached")
    assert state_of(site, job) == "cancelled"
    assert window.complaints == []


def test_a_job_is_cancelled_inside_airflows_frame(open_window, site):
    """The frame's sandbox forbids a browser's own questions, so the page brings its own."""
    with psycopg.connect(site.database, autocommit=True) as connection:
        job = jobs_rows.submit(connection, "to-be-cancelled-there", "tracks", priority=9)
    window = open_window("admin", WIDE)
    visit(window.page, f"{site.url}/plugin/jobs")
    frame = window.page.frame_locator("iframe[title=Jobs]")

    frame.get_by_role("button", name=f"Cancel job {job}, to-be-cancelled-there").click()
    frame.locator("#ask-yes").click()

    frame.locator("#toast").get_by_text(f"Job {job} is cancelled.").wait_for()
    assert state_of(site, job) == "cancelled"


def test_a_program_acts_with_a_token_and_the_header(site):
    with psycopg.connect(site.database, autocommit=True) as connection:
        job = jobs_rows.submit(connection, "for-a-program", "tracks")
    with httpx.Client(base_url=site.url, trust_env=False, timeout=60) as client:
        token = client.post("/auth/token", json={"username": "admin", "password": PASSWORD}).json()["access_token"]
        path, signed = f"/eyewall/api/jobs/{job}/cancel", {"Authorization": f"Bearer {token}"}

        answers = [
            client.post(path, json={}, headers=signed),
            client.post(path, json={}, headers={**signed, "X-Eyewall-Request": "1", "Authorization": "Bearer forged"}),
            client.post(path, json={}, headers={**signed, "X-Eyewall-Request": "1"}),
        ]

    assert [answer.status_code for answer in answers] == [403, 403, 200]
    with psycopg.connect(site.database) as connection:
        actors = connection.execute("SELECT actor FROM event WHERE job = %s AND to_state = 'cancelled'", (job,))
        assert actors.fetchall() == [("admin",)]


def test_a_priority_moves_a_job_and_a_requeue_brings_one_back(open_window, site):
    with psycopg.connect(site.database, autocommit=True) as connection:
        job = jobs_rows.submit(connection, "to-be-moved", "tracks", priority=0)
    window = open_window("admin", WIDE)
    page = window.page

    page.get_by_label(f"Priority of job {job}, 9 goes first").select_option("9")
    page.locator("#toast").get_by_text(f"Job {job} has priority 9 now.").wait_for()
    page.locator("table[data-key='table-Waiting jobs'] tbody tr").first.get_by_text("to-be-moved").wait_for()
    visit(page, f"{site.url}/eyewall/#/history?state=failed")
    page.get_by_role("button", name="Requeue job 3, nowcast-unet").click()
    page.locator("#toast").get_by_text("Job 3 is in the queue again.").wait_for()

    assert (state_of(site, job), state_of(site, 3)) == ("queued", "queued")
    assert window.complaints == []


def test_a_viewer_sees_everything_and_no_button(open_window, site):
    window = open_window("lookout", WIDE)

    window.page.get_by_text("may look").wait_for()

    assert window.page.locator("[data-act]").count() == 0
    assert window.page.locator("tbody tr").count() > 10
    answer = window.page.evaluate(
        "fetch('api/jobs/55/cancel', {method: 'POST', body: '{}',"
        " headers: {'Content-Type': 'application/json', 'X-Eyewall-Request': '1'}}).then((r) => r.status)"
    )
    assert (answer, state_of(site, 55)) == (403, "running")


def test_hostile_names_are_shown_as_they_are_and_run_nothing(open_window, site):
    hostile = "<img src=x onerror=\"document.title='owned'\">"
    with psycopg.connect(site.database, autocommit=True) as connection:
        job = jobs_rows.submit(connection, "x", "tracks", command=["python", "-c", hostile], priority=9)
        connection.execute("UPDATE job SET name = %s WHERE id = %s", (hostile, job))
        (site.store / f"jobs/{job}/1").mkdir(parents=True)
    window = open_window("admin", WIDE)

    window.page.get_by_text(hostile, exact=True).first.wait_for()

    assert window.page.title() == "Jobs · Eyewall"
    assert window.page.locator("main img").count() == 0
    assert window.complaints == []


def test_when_the_server_is_away_the_page_says_so_keeps_what_it_showed_and_comes_back(open_window):
    window = open_window("admin", WIDE)
    page = window.page

    page.route(
        "**/eyewall/api/**",
        lambda route: route.fulfill(
            status=503, content_type="application/json", body='{"detail": "The database does not answer."}'
        ),
    )
    page.locator("#banner").get_by_text("The database does not answer.").wait_for()
    assert page.locator("table[data-key='table-Waiting jobs'] tbody tr").count() > 5
    picture(page, "database-away")
    page.unroute("**/eyewall/api/**")

    page.locator("#banner p").wait_for(state="detached")


def test_dark_is_as_the_reader_has_it_in_airflow(open_window, site):
    window = open_window("admin", WIDE)
    light = window.page.evaluate("getComputedStyle(document.body).backgroundColor")

    window.page.evaluate("localStorage.setItem('theme', 'dark')")
    visit(window.page, window.page.url)
    window.page.wait_for_selector("main[aria-busy=false]")

    assert light == "rgb(246, 247, 249)"
    assert window.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 18, 23)"
    picture(window.page, "dark")


def state_of(site: Site, job: int) -> str:
    """A job's state."""
    with psycopg.connect(site.database) as connection:
        row = connection.execute("SELECT state FROM job WHERE id = %s", (job,)).fetchone()
    assert row is not None
    return str(row[0])
