"""Headless Chromium whose camera is a clip, for asyncio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from scripts.bench.clients.browser import ARGUMENTS, PAGE_LIMIT_MS, found_browser


@asynccontextmanager
async def chromium(clip: Path, address: str) -> AsyncIterator[Browser]:
    """A browser with `clip` as its camera, which is allowed at `address` though that is not HTTPS. Raises
    ConnectionError where there is no Chromium."""
    arguments = [
        *ARGUMENTS,
        f"--use-file-for-fake-video-capture={clip}",
        f"--unsafely-treat-insecure-origin-as-secure={address}",
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=found_browser(), headless=True, args=arguments, timeout=PAGE_LIMIT_MS
        )
        try:
            yield browser
        finally:
            await browser.close()
