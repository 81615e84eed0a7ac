from db import parts, schema


def test_the_partitioned_tables_are_the_schemas() -> None:
    assert parts.PARTITIONED == schema.PARTITIONED
    cut = {t.name for t in schema.metadata.sorted_tables if "part" in t.c and "job_id" in t.c}
    assert set(parts.PARTITIONED) == cut - {"chunks"}
