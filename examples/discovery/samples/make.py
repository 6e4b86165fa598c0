#!/usr/bin/env python3
"""Makes the sample documents, which are committed beside this file.

Every text is the project's own. Python's standard library writes the PDFs; ImageMagick
(`convert`) draws what is meant to be seen and not read: the scan and the notice.
"""

import pathlib
import subprocess
import tempfile
import textwrap

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT, MARGIN = 595, 842, 72  # A4 in points

SURVEY = [
    ("Survey of the Load Line", [
        "This report describes how the brigantine Halcyon was surveyed before her winter voyage. "
        "The surveyor measured the freeboard at noon, in still water, on both sides of the hull.",
        "The disc on her side is crossed by one horizontal line. When the water reaches it, the "
        "ship is full, whatever her owner may think. Below the disc stand the marks for tropical "
        "water, summer, winter, and the winter of the North Atlantic.",
        "Her ballast had shifted in the last gale. Sixty tons of gravel were trimmed by hand, and "
        "the list disappeared.",
    ]),
    ("Findings", [
        "The keelson is sound. Two planks of the garboard strake were replaced with larch, and "
        "the oakum was driven again from stem to sternpost.",
        "The pumps were tried for one hour and drew forty gallons a minute. The windlass pawl is "
        "worn and must be renewed before the equinox.",
        "Conclusion: the Halcyon may sail, provided that no cargo is carried on deck.",
    ]),
]

LOGBOOK = """
LIGHTHOUSE LOG

Fourth of November. The barometer fell
through the whole afternoon, and at dusk
the kittiwakes left the north ledge.

The lamp was lit at half past four. We used
two gallons of paraffin before midnight,
and the clockwork had to be wound every
hour because of the cold.

At three in the morning a schooner showed
a distress rocket beyond the reef. The
keeper fired the signal gun twice, and the
lifeboat was launched through heavy surf.

All eleven sailors were brought ashore.
""".strip()

NOTICE = """
HARBOUR NOTICE

The swing bridge is closed for
repairs until the first of March.

Vessels with a draught of more
than nine feet must wait for the
flood and take a pilot at the
Kingfisher buoy.

Dredging goes on day and night.
""".strip()

LETTRE = """Saint-Malo, le 3 décembre

Chère Éloïse,

La marée d’équinoxe a recouvert la chaussée jusqu’au phare. Le goéland que tu avais soigné est revenu sur la fenêtre ; il a mangé tout le pain d’épices.

Le vieux charpentier a calfaté la goélette avec de l’étoupe et du brai. Il prétend qu’elle tiendra jusqu’à Reykjavík, où l’attend un certain Þórður Guðmundsson. À Gdańsk, l’ingénieur Łukasz nous a promis de l’œuvre neuve en chêne, « sans un nœud ».

Le cœur léger, nous lèverons l’ancre à l’aube. Écris-nous à Århus, chez M. Sørensen.

Ton frère,
Aurélien
"""


def escape(text):
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def pdf(objects):
    """Numbered objects, a table of where they are, a trailer: the whole of a PDF."""
    out, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
        + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    )


def stream(data, entries=b""):
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries, data)


def text_pdf():
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [5 0 R 7 0 R] /Count 2 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    ]
    for title, paragraphs in SURVEY:
        lines = [f"BT /F2 20 Tf {MARGIN} {HEIGHT - 100} Td ({escape(title)}) Tj /F1 12 Tf 0 -14 Td"]
        for paragraph in paragraphs:
            lines.append("0 -14 Td")
            for line in textwrap.wrap(paragraph, 78):
                lines.append(f"0 -17 Td ({escape(line)}) Tj")
        lines.append("ET")
        page = (b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents %d 0 R "
                b"/Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>")
        objects.append(page % (WIDTH, HEIGHT, len(objects) + 2))
        objects.append(stream("\n".join(lines).encode("cp1252")))
    return pdf(objects)


def draw(text, font, size, options, suffix):
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        subprocess.run(
            ["convert", "-background", "white", "-fill", "#222", "-font", font, "-density", "150",
             "-pointsize", str(size), f"label:{text}", *options, "-strip", file.name],
            check=True,
        )
        return pathlib.Path(file.name).read_bytes()


def scanned_pdf():
    """One page, one crooked grey picture, not a letter of text."""
    width, height = 1240, 1754  # A4 at 150 dots per inch
    jpeg = draw(LOGBOOK, "DejaVu-Serif", 14, [
        "-gravity", "center", "-extent", f"{width}x{height}", "-background", "#f4f1ea",
        "-rotate", "0.6", "-gravity", "center", "-extent", f"{width}x{height}",
        "-blur", "0x0.6", "-colorspace", "Gray", "-quality", "55",
    ], ".jpg")
    contents = b"q %d 0 0 %d 0 0 cm /Scan Do Q" % (WIDTH, HEIGHT)
    return pdf([
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R "
        b"/Resources << /XObject << /Scan 5 0 R >> >> >>" % (WIDTH, HEIGHT),
        stream(contents),
        stream(jpeg, b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray "
                     b"/BitsPerComponent 8 /Filter /DCTDecode" % (width, height)),
    ])


def notice_png():
    return draw(NOTICE, "DejaVu-Sans", 18, [
        "-bordercolor", "white", "-border", "60", "-bordercolor", "#335", "-border", "6",
        "-colors", "16",
    ], ".png")


if __name__ == "__main__":
    for name, content in {
        "load-line-survey.pdf": text_pdf(),
        "lighthouse-log-scan.pdf": scanned_pdf(),
        "harbour-notice.png": notice_png(),
        "lettre-de-saint-malo.txt": LETTRE.encode(),
    }.items():
        (HERE / name).write_bytes(content)
        print(f"{len(content):8}  {name}")
