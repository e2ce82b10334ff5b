"""Make the README's pictures of the page: ``make screenshots``, with Chromium installed.

They look as the fonts of this machine make them.
"""

import io
import shutil
import sys
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from app import create_app

HERE = Path(__file__).parent
DESK = {"viewport": {"width": 1200, "height": 860}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5, "is_mobile": True, "has_touch": True}
PICTURES = [
    ("page-light.png", "?Weight=225", DESK, "light"),
    ("page-dark-phone.png", "?Weight=330", PHONE, "dark"),
]


def main():
    """Serve the default model, and take the pictures."""
    chromium = shutil.which("chromium")
    if not chromium:
        sys.exit("Chromium is not installed. On Debian: apt-get install chromium")
    server = make_server("127.0.0.1", 0, create_app(), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, query, device, scheme in PICTURES:
            tab = browser.new_context(color_scheme=scheme, **device).new_page()
            tab.goto(f"http://127.0.0.1:{server.port}/{query}")
            tab.locator("#chart canvas").wait_for()
            # In 256 colours it is a quarter of the size.
            picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
            picture.quantize(method=Image.Quantize.MAXCOVERAGE).save(HERE / name, optimize=True)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
