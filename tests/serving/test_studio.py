"""The Studio in a real browser: a like changes the slate before one's eyes, on a desk and on a phone."""

import shutil

import pytest
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is on PATH")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, client):
    context = browser.new_context(base_url=str(client.base_url), viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.wrong = []
    page.on(
        "console", lambda said: page.wrong.append(said.text) if said.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    yield page
    assert page.wrong == []
    context.close()


def titles(page):
    return page.locator(".card h3").all_text_contents()


def test_a_slate_shows_titles_pictures_and_reasons(page):
    page.goto("/?user=u10")
    page.wait_for_selector(".card")
    assert len(titles(page)) == 12
    assert page.locator(".card .why:not(:empty)").count() == 12
    assert (
        page.locator(".card img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    )
    assert "served by full" in page.locator("#meta").text_content()
    assert page.locator("#history li").first.is_visible()


def test_a_like_changes_the_slate_and_joins_the_history(page):
    page.goto("/?user=studio-liker")
    page.wait_for_selector(".card")
    before = titles(page)
    page.locator(".card [data-act=like]").nth(1).click()
    page.wait_for_selector("#change:not(:empty)")
    assert before[1] not in titles(page)
    page.wait_for_selector(f"#history [data-event=like] b[title='{before[1]}']")


def test_a_skip_and_a_play_are_noted_without_media(page):
    page.goto("/?user=studio-skipper")
    page.wait_for_selector(".card")
    for act in ("skip", "play"):
        page.locator(f".card [data-act={act}]").first.click(force=True)
        page.wait_for_selector(f"#history [data-event={act}]")


def test_search_similar_and_the_way_back(page):
    page.goto("/?user=u11")
    page.wait_for_selector(".card")
    slate = titles(page)
    page.fill("#words", "bread number 03")
    page.press("#words", "Enter")
    page.wait_for_selector("h1:has-text('“bread number 03”')")
    assert titles(page)[0] == "Bread number 03"
    page.locator(".card [data-act=similar]").first.click()
    page.wait_for_selector("h1:has-text('Like “Bread number 03”')")
    assert all(title.startswith("Bread") for title in titles(page)[:6])
    page.click("#back")
    page.wait_for_selector("h1:has-text('For you')")
    assert titles(page) == slate


def test_it_fits_a_phone_and_every_control_has_a_name_and_room_for_a_thumb(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/?user=u12")
    page.wait_for_selector(".card")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    nameless = """nodes => nodes
        .filter(n => n.offsetParent && !(n.getAttribute('aria-label') || n.textContent.trim()))
        .map(n => n.outerHTML)"""
    assert page.locator("button, a").evaluate_all(nameless) == []
    small = "nodes => nodes.filter(n => n.offsetParent && n.offsetHeight < 40).map(n => n.outerHTML)"
    assert page.locator(".card button, .bar button").evaluate_all(small) == []


def test_the_api_page_describes_every_endpoint(page):
    page.goto("/docs")
    page.wait_for_selector("article")
    shown = " ".join(page.locator("article h2").all_text_contents())
    for path in (
        "/v1/recommendations",
        "/v1/events",
        "/v1/videos/{video_id}/similar",
        "/v1/search",
        "/readyz",
    ):
        assert path in shown


def test_a_card_moves_under_the_pointer_and_rests_when_it_leaves(page):
    page.goto("/?user=u10")
    page.wait_for_selector(".card")
    picture = page.locator(".card img").first
    still = picture.get_attribute("src")
    page.locator(".card").first.hover()
    assert picture.get_attribute("src") == still.replace(".webp", ".preview.webp")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.locator(".card").nth(5).hover()
    assert picture.get_attribute("src") == still
