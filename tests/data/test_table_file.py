"""Tables become rows of text, whoever wrote them; what can't be read is said with its line."""

import pytest

from tlkit.data.table_file import read_table
from tlkit.errors import DataError, MissingDependencyError


@pytest.fixture
def write(tmp_path):
    def written(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


ROWS = [("a b.jpg", "cat"), ("c,d.jpg", "dog")]


@pytest.mark.parametrize(
    "content",
    [
        'path,label\na b.jpg,cat\n"c,d.jpg",dog\n',
        '\ufeffpath,label\r\na b.jpg,cat\r\n\r\n"c,d.jpg",dog',
        "path;label\na b.jpg; cat \nc,d.jpg;dog\n",
        "path|label\na b.jpg|cat\nc,d.jpg|dog\n",
        "path\tlabel\na b.jpg\tcat\nc,d.jpg\tdog\n",
        '\npath,label\na b.jpg,cat,,\n"c,d.jpg",dog\n'.encode("utf-16"),
    ],
    ids=["plain", "mark and Windows lines", "semicolons", "bars", "tabulators", "UTF-16"],
)
def test_text_of_every_kind_gives_the_same_rows(write, content):
    table = read_table(write(content))
    assert (table.columns, table.rows) == (("path", "label"), ROWS)


def test_a_tsv_file_is_parted_by_tabulators_alone(write):
    table = read_table(write("path\tlabel,a,b,c\nx\ty\n", "t.tsv"))
    assert (table.columns, table.rows) == (("path", "label,a,b,c"), [("x", "y")])


def test_a_row_knows_its_line_and_short_rows_are_filled(write):
    table = read_table(write('path,label,split\n"x\ny",a,train\n\nz\n'))
    assert table.rows[1] == ("z", "", "")
    assert [table.where(i) for i in (0, 1)] == ["t.csv, line 3", "t.csv, line 5"]


@pytest.mark.parametrize(
    "content, message",
    [
        ("", r"t.csv is empty. Its first line must name the columns, such as: path,label"),
        ("\n\n", r"t.csv is empty"),
        ("path,label\na,b,c\n", r"t.csv, line 2 has 3 cells, .* names 2 columns. Put a cell that holds ',' in quotes"),
        ('path,label\na,"b\n', r"t.csv, line 2 can't be read: .*. Check its quotes"),
        (b"path,label\na," + b"\xe4\n", r"t.csv is no UTF-8 text: see line 2. Save it as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(write, content, message):
    with pytest.raises(DataError, match=message):
        read_table(write(content))


def test_a_missing_table_and_a_pipe_are_refused(tmp_path):
    import os

    with pytest.raises(DataError, match=r"The table .*none.csv can't be read: No such file.*. Check --data"):
        read_table(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe.csv is not a file. Give --data a folder of photos, or a table"):
        read_table(tmp_path / "pipe.csv")


def test_a_table_beyond_the_limit_is_not_read(write, monkeypatch):
    monkeypatch.setattr("tlkit.data.table_file.MAX_BYTES", 2**20)
    with pytest.raises(DataError, match="t.csv has 2 MiB, the limit is 1 MiB"):
        read_table(write(b"x" * 2**21))


def test_more_rows_than_the_limit_are_refused(write, monkeypatch):
    monkeypatch.setattr("tlkit.data.table_file.MAX_ROWS", 3)
    assert len(read_table(write("path\na\nb\nc\n")).rows) == 3
    with pytest.raises(DataError, match="t.csv has more than 3 rows. Give fewer photos at a time"):
        read_table(write("path\na\nb\nc\nd\n"))


def test_parquet_that_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"path": ["a"] * 3_000_000}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 10_000
    monkeypatch.setattr("tlkit.data.table_file.MAX_ROWS", 2_999_999)
    with pytest.raises(DataError, match="t.parquet has more than 2,999,999 rows"):
        read_table(tmp_path / "t.parquet")


def test_200_000_rows_are_read_in_seconds(write):
    import time

    path = write("path,label\n" + "".join(f"photos/{i:06d}.jpg,class{i % 10}\n" for i in range(200_000)))
    begun = time.perf_counter()
    assert len(read_table(path).rows) == 200_000
    assert time.perf_counter() - begun < 10


def test_parquet_gives_text(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    columns = {
        "path": ["a.jpg", " b.jpg", None],
        "label": pyarrow.array(["cat", "dog", "cat"]).dictionary_encode(),
        "number": [1.0, None, 3.0],
        "half": [0.5, 1.0, 2.0],
        "is_cat": [True, False, True],
        "bytes": [b"\xff", b"", b"x"],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.columns == ("path", "label", "number", "half", "is_cat")
    assert table.rows == [
        ("a.jpg", "cat", "1", "0.5", "1"),
        ("b.jpg", "dog", "", "1", "0"),
        ("", "cat", "3", "2", "1"),
    ]
    assert table.where(2) == "t.parquet, row 3"


def test_a_damaged_parquet_file_is_refused(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match=r"t.parquet can't be read as Parquet \(.*\). Write it again"):
        read_table(write(b"PAR1 nonsense PAR1", "t.parquet"))


def test_without_pyarrow_parquet_says_what_to_install(write, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tlkit\[data\]'"):
        read_table(write(b"PAR1", "t.parquet"))
