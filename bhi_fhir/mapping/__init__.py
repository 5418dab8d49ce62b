"""Rows and code maps in, one `domain.record.Chart` per patient out; what no map could place is reported."""
