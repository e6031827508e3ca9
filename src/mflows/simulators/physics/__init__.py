"""Higgs production by weak boson fusion, pp -> h j j, with dimension-six operators."""
