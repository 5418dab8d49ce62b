"""`python -m bhi_fhir.cli`."""

from bhi_fhir.cli import main

if __name__ == "__main__":
    main()
