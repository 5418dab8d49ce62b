"""See `careless`."""

from faults import careless


def main() -> None:
    careless.main(forgetful=True)


if __name__ == "__main__":
    main()
