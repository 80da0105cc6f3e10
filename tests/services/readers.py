"""Reads a Delta table with an engine of others: rows as JSON lists, one a line, sorted.

Decimals become whole numbers of 10^-10, as text, instants microseconds since 1970; everything else is as
it is.
"""

import datetime
import decimal
import glob
import json
import os
import site
import sys

SCALE = 10


def with_deltalake(table, columns):
    import polars
    from deltalake import DeltaTable, QueryBuilder

    query = QueryBuilder().register("t", DeltaTable(table))
    found = query.execute(f"SELECT {columns} FROM t").read_all()
    return polars.DataFrame(found).rows()


def with_polars(table, columns):
    import polars

    return polars.scan_delta(table).select(columns.split(", ")).collect().rows()


def with_duckdb(table, columns):
    import duckdb

    folder = os.path.join(site.getsitepackages()[0], "duckdb_ext", "extensions")
    extension = glob.glob(os.path.join(folder, "**", "delta.duckdb_extension"), recursive=True)[0]
    # What was not installed is not fetched either.
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    connection.execute(f"LOAD '{extension}'")
    found = f"FROM delta_scan('{table}')"
    # Instants with a zone would need one more extension to become text.
    quoted = ", ".join(f'"{name}"' for name in columns.split(", "))
    kinds = connection.execute(f"DESCRIBE SELECT {quoted} {found}").fetchall()
    instant = "TIMESTAMP WITH TIME ZONE"
    wanted = [f'epoch_us("{row[0]}")' if row[1] == instant else f'"{row[0]}"' for row in kinds]
    return connection.execute(f"SELECT {', '.join(wanted)} {found}").fetchall()


def plain(value):
    if isinstance(value, decimal.Decimal):
        sign, digits, exponent = value.as_tuple()
        number = int("".join(map(str, digits))) * 10 ** (exponent + SCALE)
        return str(-number if sign else number)
    if isinstance(value, datetime.datetime):
        since = value.astimezone(datetime.timezone.utc) - datetime.datetime(
            1970, 1, 1, tzinfo=datetime.timezone.utc
        )
        return since // datetime.timedelta(microseconds=1)
    return value


ENGINES = {"deltalake": with_deltalake, "polars": with_polars, "duckdb": with_duckdb}


def main():
    engine, table, *columns = sys.argv[1:]
    rows = ENGINES[engine](table, ", ".join(columns))
    lines = sorted(json.dumps([plain(value) for value in row]) for row in rows)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
