"""Files as other programs write them, and files that are broken: read by what is declared, or named with the fix."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tasks.cli.rows_of_files import read_rows
from tasks.spec.errors import ConfigError
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tasks.stages.ingest import ingest
from tasks.tables.formats import unique_names

NAME = "small"
FOLDER = f"data/{NAME}/source"
RIGHT = pd.DataFrame({"age": [30.5, 41.0, float("nan")], "city": ["Köln", "München", "-"], "passed": ["a", "b", "a"]})
COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "type": "number", "nullable": True, "source": "Alter (Jahre)"},
    {"name": "city", "type": "category", "source": "Wohnort"},
    {"name": "passed", "type": "category", "input": False, "source": "Bestanden?"},
]


def lay(root: Path, files: dict[str, bytes], source: dict[str, Any], columns: list[Any] = COLUMNS) -> Path:
    """A checkout of a model whose source is these files."""
    where: dict[str, Any] = {"path": f"{FOLDER}/{next(iter(files))}"} if "paths" not in source else {}
    model = {
        "name": NAME, "title": "t", "purpose": "p", "owner": "o", "materiality": "low", "seed": 1,
        "data": {
            "source": {"kind": "file", "format": "csv"} | where | source,
            "columns": columns,
            "target": {
                "kind": "binary", "expression": "passed == 'a'", "positive": "a", "negative": "b",
                "decision_threshold": 0.5,
            },
            "split": {"train": 0.5, "holdout": 0.4, "replay": 0.1},
        },
        "protected": {"city": {"column": "city", "groups": {"k": ["Köln"]}}},
        "features": ["age"], "estimator": {"kind": "logistic_regression", "parameters": {}},
        "gates": [{"name": "floor", "kind": "floor", "metric": "roc_auc", "limit": 0.5}],
    }  # fmt: skip
    folder = root / "deployments/models" / NAME
    folder.mkdir(parents=True)
    (root / "deployments/models.yaml").write_text(f"models: [{NAME}]\n")
    (folder / "model.yaml").write_text(yaml.safe_dump(model))
    for name, content in files.items():
        (root / FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (root / FOLDER / name).write_bytes(content)
    return root


def ingested(root: Path) -> pd.DataFrame:
    paths = ModelPaths(root, NAME)
    ingest(paths, load_model(root, NAME))
    return pd.read_parquet(paths.ingested)


HEAD = "Alter (Jahre);Wohnort;Bestanden?"
GERMAN = f"{HEAD}\n30,5;Köln;a\n41;München;b\n;-;a\n"
PLAIN = "Alter (Jahre),Wohnort,Bestanden?\n30.5,Köln,a\n41.0,München,b\n,-,a\n"


def zipped(text: str, path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inside.csv", text)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "make", "source"),
    [
        ("a.csv", lambda _: GERMAN.encode("latin-1"), {"separator": ";", "decimal": ",", "encoding": "latin-1"}),
        ("a.csv", lambda _: GERMAN.encode("utf-16"), {"separator": ";", "decimal": ",", "encoding": "utf-16"}),
        ("a.csv", lambda _: b"\xef\xbb\xbf" + PLAIN.encode(), {}),
        ("a.csv", lambda _: PLAIN.replace("\n", "\r\n").encode(), {}),
        ("a.csv", lambda _: PLAIN.replace("\n", "\n\n").encode(), {}),
        ("a.csv", lambda _: PLAIN.rstrip("\n").encode(), {}),
        ("a.csv", lambda _: PLAIN.replace("München", '"München"').replace("30.5", '"30.5"').encode(), {}),
        ("a.tsv", lambda _: PLAIN.replace(",", "\t").encode(), {"separator": "\t"}),
        ("a.csv", lambda _: PLAIN.replace(",", " | ").encode(), {"separator": "|", "trim": True}),
        ("a.csv", lambda _: PLAIN.replace("41.0", "+4.1e1").replace("30.5", " 30.5 ").encode(), {}),
        ("a.csv.gz", lambda _: gzip.compress(PLAIN.encode()), {}),
        ("a.csv.zip", lambda folder: zipped(PLAIN, folder / "made.zip"), {}),
    ],
)
def test_a_file_is_read_as_declared_for_training_and_for_scoring(
    tmp_path: Path, name: str, make: Callable[[Path], bytes], source: dict[str, Any]
) -> None:
    root = lay(tmp_path, {name: make(tmp_path)}, source)
    pd.testing.assert_frame_equal(ingested(root), RIGHT)
    config = load_model(root, NAME)
    sent = [{"age": 30.5, "city": "Köln"}, {"age": 41.0, "city": "München"}, {"age": None, "city": "-"}]
    assert list(read_rows(root / FOLDER / name, config)) == [sent]
    plain = tmp_path / "monthly.csv"  # another program's file, under the declared names
    plain.write_text("city,age\nKöln,30.5\nMünchen,41.0\n-,\n")
    assert list(read_rows(plain, config)) == [sent]


def test_several_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    first, second = PLAIN.splitlines()[:2], PLAIN.splitlines()[2:]
    files = {
        "2024/b.csv": "\n".join(["Wohnort,Bestanden?,Alter (Jahre)", "München,b,41.0", "-,a,"]).encode(),
        "2024/a.csv": "\n".join(first).encode(),
        "other.csv": "\n".join([PLAIN.splitlines()[0], *second]).encode(),
    }
    root = lay(tmp_path, files, {"paths": [f"{FOLDER}/2024/*.csv"]})
    pd.testing.assert_frame_equal(ingested(root), RIGHT)
    (root / FOLDER / "2024/c.csv").write_text("Alter (Jahre),Wohnort,Bestanden?,Note\n1,Ulm,a,2\n")
    with pytest.raises(ConfigError, match=r"different columns: .*2024/c\.csv alone has Note\. Files of"):
        ingested(root)


@pytest.mark.parametrize(
    ("content", "source", "says"),
    [
        (GERMAN.encode("latin-1"), {"separator": ";"}, r"line 2: the byte 0xf6 is not in the encoding utf-8"),
        (
            GERMAN.encode(), {},
            r"has no column 'Alter \(Jahre\)' \(for age\), 'Wohnort' \(for city\).*The whole first line is one cell: "
            r"data\.source\.separator is ',', and the line seems to be separated by ';'\.",
        ),
        (PLAIN.encode() + b"1,Ulm\n", {}, r"row 4: there are 2 cells, and the first line has 3: '1,Ulm'\. Mend"),
        (PLAIN.encode() + b"1,Ulm,a,b\n", {}, r"row 4: there are 4 cells, and the first line has 3: '1,Ulm,a,b'"),
        (PLAIN.encode() + b"1,U\0lm,a\n", {}, r"line 5: there is a NUL byte, which no text holds\."),
        (PLAIN.encode() + b'1,"Ulm,a\n2,Bonn,b\n', {}, r"row 4: .*a quote seems to be opened and not"),
        (PLAIN.encode() + b'1,Ulm,"a\n2,Bonn,b\n', {}, r"row 4: a quote \" is opened and not closed before the end"),
        (PLAIN.replace("41.0", "41,0").replace(",", ";").replace("41;0", "4.1.0").encode(), {"separator": ";"},
         r"row 2, column age \('Alter \(Jahre\)' in the file\): '4\.1\.0' is no finite number"),
        (GERMAN.replace("30,5", "1.030,5").encode(), {"separator": ";", "decimal": ","},
         r"row 1, column age .*: '1\.030,5' is no finite number"),
        (PLAIN.replace("Wohnort", "Wohnor").encode(), {}, r"no column 'Wohnort' \(for city\).*Did you mean 'Wohnor'\?"),
        (b"", {}, r"a\.csv is empty: it has no header and no rows"),
        (PLAIN.splitlines()[0].encode(), {}, r"the source of small holds no row"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_place_and_fix(
    tmp_path: Path, content: bytes, source: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        ingested(lay(tmp_path, {"a.csv": content}, source))
    assert "a.csv" in str(refused.value) or "holds no row" in says


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"Alter (Jahre)": NaN}', "NaN is no JSON value"),
        ('{"Alter (Jahre)": [1]}', r"column Alter \(Jahre\) holds \[1\], which is no single value"),
        ('{"Wohnort": "\\ud800"}', "surrogates not allowed"),
        ("[1]", r"\[1\] is no object"),
        ('{"Wohnort": "a", "Bestanden?": "b", "Wohnort": "c"}', "the key 'Wohnort' is given twice"),
        ("{", "line 2 is no row in JSON lines"),
        ('{"Alter (Jahre)": 1e400}', r"row 2, column age .*: inf is no finite number"),
        ('{"Alter (Jahre)": true}', r"row 2, column age .*: True is no finite number"),
    ],
)
def test_json_lines_that_are_none(tmp_path: Path, line: str, says: str) -> None:
    good = json.dumps({"Alter (Jahre)": 3, "Wohnort": "NA", "Bestanden?": "a"})
    root = lay(tmp_path, {"a.jsonl": f"{good}\n{line}\n".encode()}, {"format": "jsonl"})
    with pytest.raises(ConfigError, match=says):
        ingested(root)


def test_a_column_has_its_own_markers_and_doubled_names_are_told_apart(tmp_path: Path) -> None:
    columns = [
        {"name": "age", "type": "integer", "nullable": True, "source": "x", "missing": ["9", "?"]},
        {"name": "city", "type": "category", "nullable": True, "source": "x.1", "missing": ["?"]},
        {"name": "passed", "type": "category", "input": False, "source": "Unnamed: 2"},
    ]
    root = lay(tmp_path, {"a.csv": b"x,x,\n9,9,?\n9.0,?,a\n?,NA,b\n8,-,a\n"}, {"missing": ["-"]}, columns)
    found = ingested(root)
    assert found["age"].fillna(-1).tolist() == [-1, -1, -1, 8]
    assert found["city"].fillna("gone").tolist() == ["9", "gone", "NA", "gone"] and found["passed"].tolist()[0] == "?"


def test_long_identifiers_of_json_lines_keep_all_digits_beside_gaps_and_fractions(tmp_path: Path) -> None:
    columns = [
        {"name": "id", "type": "category", "nullable": True},
        {"name": "mixed", "type": "category", "nullable": True},
        {"name": "day", "type": "date", "format": "%Y%m%d", "nullable": True},
        {"name": "passed", "type": "category", "input": False},
    ]
    ids, mixed, days = [2**53 + 1, None, 2**53], [12345678901234567890, 0.5, 1e21], [20240301, None, 20240302]
    rows = [{"id": i, "mixed": m, "passed": "a"} | ({"day": d} if d else {})
            for i, m, d in zip(ids, mixed, days, strict=True)]  # fmt: skip
    root = lay(tmp_path, {"a.jsonl": "\n".join(map(json.dumps, rows)).encode()}, {"format": "jsonl"}, columns)
    config = load_model(lay_features(root), NAME)
    found = ingested(root)
    assert found["id"].fillna("gone").tolist() == ["9007199254740993", "gone", "9007199254740992"]
    assert found["mixed"].tolist() == ["12345678901234567890", "0.5", "1" + "0" * 21]
    assert found["day"].fillna(-1).tolist() == [19783, -1, 19784]
    sent = [row for part in read_rows(root / FOLDER / "a.jsonl", config) for row in part]
    assert [row["id"] for row in sent] == ["9007199254740993", None, "9007199254740992"]


def lay_features(root: Path) -> Path:
    """The same checkout with every column but the target's as a feature, and no group."""
    path = root / "deployments/models" / NAME / "model.yaml"
    model = yaml.safe_load(path.read_text())
    model["features"] = [c["name"] for c in model["data"]["columns"] if c.get("input", True)]
    model |= {"protected": {}, "unprotected": "the table holds no attribute of a person"}
    path.write_text(yaml.safe_dump(model))
    return root


MARKED: list[dict[str, Any]] = [
    {"name": "day", "type": "date", "nullable": True, "missing": ["9999-12-31"]},
    {"name": "at", "type": "datetime", "nullable": True, "missing": ["1900-01-01"]},
    {"name": "smokes", "type": "boolean", "nullable": True, "missing": ["9"]},
    {"name": "children", "type": "integer", "nullable": True, "missing": ["-9.5", "99"]},
    {"name": "passed", "type": "category", "input": False},
]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_declared_markers_of_every_type_mean_missing_in_every_format(tmp_path: Path, form: str) -> None:
    texts = {"day": ["9999-12-31", "2020-01-01"], "at": ["1900-01-01", "2020-01-01"]}
    frame = pd.DataFrame(texts | {"smokes": [9, 1], "children": [-9.5, 2.0], "passed": ["a", "b"]})
    path = tmp_path / f"a.{form}"
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        days = [date(9999, 12, 31), date(2020, 1, 1)]
        frame.assign(day=days, at=pd.to_datetime(frame["at"])).to_parquet(path)
    root = lay(tmp_path / "root", {path.name: path.read_bytes()}, {"format": form}, MARKED)
    lay_features(root)
    found = ingested(root)
    assert found.iloc[0, :4].isna().all() and found.iloc[1].tolist() == [18262, 1577836800, "true", 2, "b"]


def test_a_marker_is_a_number_as_the_file_writes_numbers(tmp_path: Path) -> None:
    columns = [{"name": "age", "type": "number", "nullable": True, "missing": ["-9,0", "1_000"]}, *COLUMNS[1:]]
    text = "age;Wohnort;Bestanden?\n-9,00;Ulm;a\n1000;Ulm;b\n-90;Ulm;b\n"
    root = lay(tmp_path, {"a.csv": text.encode()}, {"separator": ";", "decimal": ","}, columns)
    assert ingested(root)["age"].fillna(0).tolist() == [0, 1000, -90]


@pytest.mark.parametrize(
    ("mark", "decimal", "sums", "wrong"),
    [
        (",", ".", ["1,234.50", " 12 ", "-1,234,567.", "€ 9,999 ", "9,999.0"], ["1,23", "0,123", "1,2345", "1.234,5"]),
        (".", ",", ["1.234,50", "12", "-1.234.567", "9.999€", "9.999"], ["12.5", "1,234.5", "1..234"]),
        ("'", ".", ["1'234.50", "12", "-1\u2019234\u2019567", "€9'999.00", "9'999"], ["1'2", "'123"]),
        (" ", ",", ["1\u202f234,50", "12", "-1\xa0234 567", "9 999 €", "9 999"], ["1 23", "12 34 567"]),
    ],
)
def test_thousands_units_and_per_cents_are_numbers_where_declared_and_refused_where_not(
    tmp_path: Path, mark: str, decimal: str, sums: list[str], wrong: list[str]
) -> None:
    columns = [
        {"name": "age", "type": "number", "nullable": True, "source": "x", "unit": "€", "missing": [f"9{mark}999"]},
        {"name": "share", "type": "number", "unit": "%"},
        {"name": "city", "type": "category"},
        COLUMNS[2] | {"source": "z"},
    ]
    shares, written = [12.5, 0.5, 100.0, -3.0, 4.0], ["12.5%", "0.5 %", "100%", "-3%", "4"]

    def bytes_of(cells: list[str]) -> bytes:
        rows = [
            f"{cell}\t{s.replace('.', decimal)}\t{cell}\t{'ab'[at % 2]}"
            for at, (cell, s) in enumerate(zip(cells, written * 9, strict=False))
        ]
        return "\n".join(["x\tshare\tcity\tz", *rows, ""]).encode()

    source = {"separator": "\t", "decimal": decimal, "thousands": mark}
    root = lay(tmp_path / "good", {"a.csv": bytes_of(sums)}, source, columns)
    found = ingested(root)
    assert found["age"].fillna(0).tolist() == [1234.5, 12, -1234567, 0, 0]
    assert (found["share"].tolist(), found["city"].tolist()) == (shares, sums)
    (sent,) = read_rows(root / FOLDER / "a.csv", load_model(root, NAME))
    assert [row["age"] for row in sent] == [1234.5, 12, -1234567, None, None] and sent[0]["share"] == 12.5
    for at, cell in enumerate(wrong):
        with pytest.raises(ConfigError, match=r"row 3, column age \('x' in the file\): .* is no finite number\."):
            ingested(lay(tmp_path / str(at), {"a.csv": bytes_of([*sums[:2], cell])}, source, columns))
    bare = [{k: v for k, v in c.items() if k != "unit"} for c in columns]
    with pytest.raises(ConfigError) as refused:
        ingested(lay(tmp_path / "bare", {"a.csv": bytes_of(sums)}, source | {"thousands": ""}, bare))
    assert f'Where {mark!r} parts thousands, say thousands: "{mark}" under data.source.' in str(refused.value)
    assert 'Where it is a per cent, say unit: "%" of the column.' in str(refused.value)


def test_a_mark_is_not_of_thousands_and_of_decimals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="thousands is ',', which is also the decimal mark; say decimal: '.' too"):
        load_model(lay(tmp_path, {"a.csv": b""}, {"separator": ";", "decimal": ",", "thousands": ","}), NAME)


def test_bytes_of_parquet_are_text_and_what_no_text_stands_for_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"Alter (Jahre)": [1.0, 2.0], "Wohnort": [b"K\xc3\xb6ln", None], "Bestanden?": ["a", "b"]})
    for at, (values, says) in enumerate([
        ([b"\xff", b"b"], "a.parquet cannot be read as Parquet: Invalid UTF8"),
        ([1.5, float("inf")], r"row 2, column city .*: inf is an infinite number, which names no category"),
    ]):  # fmt: skip
        frame.assign(Wohnort=values).to_parquet(path)
        with pytest.raises(ConfigError, match=says):
            ingested(lay(tmp_path / str(at), {"a.parquet": path.read_bytes()}, {"format": "parquet"}))
    frame.to_parquet(path)
    root = lay(tmp_path / "good", {"a.parquet": path.read_bytes()}, {"format": "parquet"})
    assert ingested(root)["city"].fillna("gone").tolist() == ["Köln", "gone"]


def test_a_file_and_its_packed_copy_are_not_one_table(tmp_path: Path) -> None:
    files = {"a.csv": PLAIN.encode(), "a.csv.gz": gzip.compress(PLAIN.encode())}
    with pytest.raises(ConfigError, match=r"both .*a\.csv and .*a\.csv\.gz, which would give the same rows twice"):
        ingested(lay(tmp_path, files, {"paths": [f"{FOLDER}/a*"]}))


def test_a_zip_of_macos_holds_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", PLAIN)
        archive.writestr("__MACOSX/._a.csv", b"\0\5\x16\7")
    (root := tmp_path / "root").mkdir()
    pd.testing.assert_frame_equal(ingested(lay(root, {"a.csv.zip": path.read_bytes()}, {})), RIGHT)


@pytest.mark.parametrize("ending", ["gz", "zip"])
def test_a_damaged_archive_is_named(tmp_path: Path, ending: str) -> None:
    text = PLAIN + "".join(f"{n * n % 977},Ort {n * 7919 % 1009},a\n" for n in range(3000))
    whole = gzip.compress(text.encode()) if ending == "gz" else zipped(text, tmp_path / "a.zip")
    damaged = whole[:2000] + b"\xff" * 200 + whole[2200:]
    (root := tmp_path / "root").mkdir()
    with pytest.raises(ConfigError, match=rf"a\.csv\.{ending} cannot be unpacked: .*Pack it again"):
        ingested(lay(root, {f"a.csv.{ending}": damaged}, {}))


@pytest.mark.parametrize(
    "names", [["x", "x", "x"], ["x", "x", "x.1"], ["x.1", "x", "x"], ["a", "", "b", ""], ["", "", "x", "x.1", "x"]]
)
def test_doubled_names_are_counted_as_pandas_does(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",".join(names) + "\n" + ",".join("1" * len(names)) + "\n")
    assert unique_names(names) == list(pd.read_csv(path).columns)


def test_a_source_stays_inside_the_repository(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text(PLAIN)
    root = tmp_path / "checkout"
    lay(root, {"a.csv": PLAIN.encode()}, {})
    (root / FOLDER / "a.csv").unlink()
    with pytest.raises(ConfigError, match=r"names 'data/small/source/a\.csv', which does not exist\. Put it there"):
        ingested(root)
    (root / FOLDER / "a.csv.dvc").write_text("")
    with pytest.raises(ConfigError, match=r"Only its pointer is here; fetch it with 'dvc pull .*/a\.csv\.dvc'"):
        ingested(root)
    (root / FOLDER / "a.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(ConfigError, match=r"which leads out of the repository to .*secret\.csv\. Copy the file below"):
        ingested(root)
    config = root / f"deployments/models/{NAME}/model.yaml"
    for wrong in ("/etc/passwd", f"{FOLDER}/../../../../secret.csv"):
        config.write_text(config.read_text().replace(f"{FOLDER}/a.csv", wrong))
        with pytest.raises(ConfigError, match="is no path inside the repository"):
            ingested(root)
        config.write_text(config.read_text().replace(wrong, f"{FOLDER}/a.csv"))


def test_text_of_typed_files_is_trimmed_only_where_that_is_declared(tmp_path: Path) -> None:
    names = ("Alter (Jahre)", "Wohnort", "Bestanden?")
    rows = ((" 4 ", " ", "a "), (5, "?", "b"))
    content = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows).encode()
    kept = ingested(lay(tmp_path / "kept", {"a.jsonl": content}, {"format": "jsonl", "missing": ["?"]}))
    assert kept["city"].fillna("gone").tolist() == [" ", "gone"] and kept["passed"].tolist() == ["a ", "b"]
    assert kept["age"].tolist() == [4.0, 5.0]
    trimmed = ingested(lay(tmp_path / "trimmed", {"a.jsonl": content}, {"format": "jsonl", "trim": True}))
    assert trimmed["city"].fillna("gone").tolist() == ["gone", "?"] and trimmed["passed"].tolist() == ["a", "b"]


def test_two_columns_of_one_name_in_the_source_are_refused(tmp_path: Path) -> None:
    columns = [COLUMNS[0], COLUMNS[1] | {"source": "Alter (Jahre)"}, COLUMNS[2]]
    with pytest.raises(ConfigError, match=r"columns age and city are both 'Alter \(Jahre\)' in the source"):
        load_model(lay(tmp_path / "twice", {"a.csv": b""}, {}, columns), NAME)
    with pytest.raises(ConfigError, match=r"column age names a source, and data\.source\.header is false; remove it"):
        load_model(lay(tmp_path / "none", {"a.csv": b""}, {"header": False}), NAME)


def test_without_a_header_cells_have_the_declared_order(tmp_path: Path) -> None:
    columns = [{key: value for key, value in column.items() if key != "source"} for column in COLUMNS]
    root = lay(tmp_path, {"a.csv": PLAIN.split("\n", 1)[1].encode()}, {"header": False}, columns)
    pd.testing.assert_frame_equal(ingested(root), RIGHT)
    sent = [{"age": 30.5, "city": "Köln"}, {"age": 41.0, "city": "München"}, {"age": None, "city": "-"}]
    assert list(read_rows(root / FOLDER / "a.csv", load_model(root, NAME))) == [sent]
    (root / FOLDER / "a.csv").write_text("1,2\n")
    with pytest.raises(ConfigError, match=r"a\.csv, row 1: there are 2 cells, and 3 columns are declared"):
        ingested(root)
