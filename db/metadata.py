"""What all tables have in common."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, MetaData, text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NOW = text("now()")
ZERO = text("0")
EMPTY = text("'{}'")


def time_column(name: str, *, now: bool = False) -> Column[object]:
    """A time with its zone; with `now` that of the row's making."""
    zone = DateTime(timezone=True)
    return Column(name, zone, server_default=NOW, nullable=False) if now else Column(name, zone)


def id_column() -> Column[int]:
    """A number of the database's own."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)
