#!/usr/bin/env python3
"""Makes the hostile PDFs beside this file. They are committed: a few kilobytes each."""

import importlib.util
import pathlib
import zlib

HERE = pathlib.Path(__file__).parent
SAMPLES = HERE.parents[3] / "samples" / "make.py"
spec = importlib.util.spec_from_file_location("samples", SAMPLES)
samples = importlib.util.module_from_spec(spec)
spec.loader.exec_module(samples)
pdf, stream = samples.pdf, samples.stream

CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
ONE_PAGE = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << >> >>"


def deflated_zeros(n_bytes):
    compressor, out = zlib.compressobj(9), []
    block = bytes(1 << 20)
    for _ in range(n_bytes >> 20):
        out.append(compressor.compress(block))
    return b"".join(out) + compressor.flush()


def bomb():
    """3 GB of zeros in a page's content, twice deflated."""
    data = zlib.compress(deflated_zeros(3 << 30), 9)
    return pdf([CATALOG, ONE_PAGE, PAGE, stream(data, b"/Filter [/FlateDecode /FlateDecode]")])


def no_pages():
    return pdf([CATALOG, b"<< /Type /Pages /Kids [] /Count 0 >>"])


def nested():
    """An array in an array in an array."""
    deep = b"[" * 100_000 + b"]" * 100_000
    return pdf([CATALOG, ONE_PAGE, PAGE, stream(zlib.compress(deep), b"/Filter /FlateDecode")])


def cycle():
    """A page whose parents are each other's, and that leaves its size to them."""
    return pdf([CATALOG, b"<< /Type /Pages /Kids [3 0 R] /Count 1 /Parent 5 0 R >>",
                b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>", stream(b"BT (x) Tj ET"),
                b"<< /Type /Pages /Kids [2 0 R] /Count 1 /Parent 2 0 R >>"])


def huge():
    """A page of a thousand kilometres, with a line across it."""
    return pdf([CATALOG, ONE_PAGE, PAGE.replace(b"595 842", b"2000000000 2000000000"),
                stream(b"0 0 m 2000000000 2000000000 l S")])


if __name__ == "__main__":
    for name, make in {"bomb": bomb, "no-pages": no_pages, "nested": nested, "cycle": cycle,
                       "huge": huge}.items():
        content = make()
        (HERE / f"{name}.pdf").write_bytes(content)
        print(f"{len(content):8}  {name}.pdf")
