"""The fourteen structures: what follows from the letters agrees with covariances built from their definition."""

import numpy as np
import pytest

from bayesgmm.errors import ArgumentError
from bayesgmm.structure import STRUCTURES, CovarianceStructure, as_structure
from tests.examples import random_covariances

# df of R's mclust 6.0.0 for three components, copied from its output on faithful (D = 2) and iris (D = 4).
MCLUST_DF = {
    2: dict(zip(STRUCTURES, [9, 11, 10, 12, 12, 14, 11, 13, 13, 15, 13, 15, 15, 17], strict=True)),
    4: dict(zip(STRUCTURES, [15, 17, 18, 20, 24, 26, 24, 26, 30, 32, 36, 38, 42, 44], strict=True)),
}


def coordinates(code, k, d):
    """Return how many free numbers each of the three parts has, were they all free of each other."""
    copies = {"I": 0, "E": 1, "V": k}
    return copies[code[0]], copies[code[1]] * d, copies[code[2]] * d * (d - 1) // 2


def rotation(angles, d):
    """Return the Cayley transform of a skew matrix, a smooth chart of the rotations."""
    skew = np.zeros((d, d))
    skew[np.triu_indices(d, 1)] = angles
    skew -= skew.T
    return np.linalg.solve(np.eye(d) + skew, np.eye(d) - skew)


def covariances_at(theta, code, k, d):
    """Build the covariances from unconstrained coordinates; the shapes have one coordinate too many."""
    sizes = coordinates(code, k, d)
    volumes, shapes, angles = np.split(theta, np.cumsum(sizes)[:2])
    volumes = np.exp(np.resize(volumes, k))
    logs = np.resize(shapes, (k, d)) if shapes.size else np.zeros((k, d))
    logs = logs - logs.mean(axis=1, keepdims=True)
    angles = np.resize(angles, (k, d * (d - 1) // 2)) if angles.size else np.zeros((k, d * (d - 1) // 2))
    axes = np.stack([rotation(one, d) for one in angles])
    return volumes[:, None, None] * (axes * np.exp(logs)[:, None, :]) @ np.swapaxes(axes, 1, 2)


def belongs(covariances, code):
    """Whether covariances are of a structure, judged from their eigenvalues, traces and commutators."""
    d = covariances.shape[-1]
    volumes = np.linalg.det(covariances) ** (1 / d)
    units = covariances / volumes[:, None, None]
    spectra = np.linalg.eigvalsh(units)
    commute = all(np.allclose(a @ b, b @ a) for a in covariances for b in covariances)
    is_diagonal = np.allclose(covariances, covariances * np.eye(d))
    same_axes = {"I": is_diagonal, "E": commute, "V": True}[code[2]]
    # Shapes in common axes are compared axis by axis, those in axes of their own by their sorted spectra.
    compared = spectra if code[2] == "V" else units
    same_shape = {"I": np.allclose(units, np.eye(d)), "E": np.allclose(compared, compared[:1]), "V": True}[code[1]]
    same_volume = code[0] == "V" or np.allclose(volumes, volumes[0])
    return bool(same_axes and same_shape and same_volume)


class TestCounts:
    @pytest.mark.parametrize("d", [1, 2, 3])
    @pytest.mark.parametrize("code", STRUCTURES)
    def test_parameters_are_the_rank_of_the_parameterisation(self, code, d):
        k, step = 3, 1e-6
        theta = np.random.default_rng(4).normal(size=sum(coordinates(code, k, d)))
        columns = [
            (covariances_at(theta + h, code, k, d) - covariances_at(theta - h, code, k, d)).ravel() / (2 * step)
            for h in step * np.eye(theta.size)
        ]
        rank = np.linalg.matrix_rank(np.stack(columns, axis=1), tol=1e-5)
        assert STRUCTURES[code].n_covariance_parameters(k, d) == rank
        assert STRUCTURES[code].n_parameters(k, d) == rank + k - 1 + k * d

    @pytest.mark.parametrize("d", MCLUST_DF)
    @pytest.mark.parametrize("code", STRUCTURES)
    def test_parameters_are_those_of_mclust(self, code, d):
        assert STRUCTURES[code].n_parameters(3, d) == MCLUST_DF[d][code]

    @pytest.mark.parametrize("d", [1, 2, 5])
    def test_one_component_has_as_many_as_its_covariance(self, d):
        for code, expected in {"EII": 1, "VVI": d, "EEE": d * (d + 1) // 2, "VVV": d * (d + 1) // 2}.items():
            assert STRUCTURES[code].n_covariance_parameters(1, d) == expected


class TestLetters:
    @pytest.mark.parametrize("code", STRUCTURES)
    def test_rescaling_a_column_stays_within_a_structure_that_says_so(self, code):
        covariances = random_covariances(code, 3, 3)
        assert belongs(covariances, code)
        factors = np.array([1.0, 2.5, 0.3])
        rescaled = covariances * factors[:, None] * factors
        assert belongs(rescaled, code) == STRUCTURES[code].is_scale_equivariant

    @pytest.mark.parametrize("code", STRUCTURES)
    def test_flags_describe_the_covariances(self, code):
        structure, covariances = STRUCTURES[code], random_covariances(code, 3, 3)
        assert structure.is_diagonal == np.allclose(covariances, covariances * np.eye(3))
        assert structure.is_shared == np.allclose(covariances, covariances[:1])
        spheres = covariances[:, :1, :1] * np.eye(3)
        assert structure.is_spherical == np.allclose(covariances, spheres)

    @pytest.mark.parametrize("code", STRUCTURES)
    def test_in_one_dimension_only_the_volume_is_left(self, code):
        reduced = STRUCTURES[code].for_dimension(1)
        assert reduced == STRUCTURES[code[0] + "II"] == as_structure(code, n_features=1)
        assert STRUCTURES[code].for_dimension(2) is STRUCTURES[code]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "code"), {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII"}.items()
    )
    def test_common_names(self, name, code):
        assert as_structure(name) == as_structure(code) == STRUCTURES[code]
        assert STRUCTURES[code].name == name
        assert str(STRUCTURES[code]) == f"{name} ({code})"

    def test_a_structure_without_a_common_name_is_called_by_its_code(self):
        assert str(STRUCTURES["VEV"]) == STRUCTURES["VEV"].name == "VEV"

    def test_the_key_is_the_code(self):
        assert {code: structure.code for code, structure in STRUCTURES.items()} == {code: code for code in STRUCTURES}
        assert len(STRUCTURES) == 14

    def test_a_structure_stands_for_itself(self):
        assert as_structure(STRUCTURES["VEV"]) is STRUCTURES["VEV"]

    @pytest.mark.parametrize(("name", "code"), [("E", "EII"), ("V", "VII")])
    def test_mclust_names_of_one_dimension(self, name, code):
        assert as_structure(name, n_features=1) == STRUCTURES[code]
        with pytest.raises(ArgumentError, match=f"structure='{name}' is not known"):
            as_structure(name, n_features=2)

    @pytest.mark.parametrize(("name", "same"), [("X", "EII"), ("XII", "EII"), ("XXI", "EEI"), ("XXX", "EEE")])
    def test_mclust_names_of_one_component_are_answered_with_ours(self, name, same):
        with pytest.raises(ArgumentError, match=f"use '{same}' with n_components=1"):
            as_structure(name)

    @pytest.mark.parametrize("wrong", ["Full", "vvv", "", None, 3, ["full"]])
    def test_an_unknown_name_is_answered_with_the_known_ones(self, wrong):
        with pytest.raises(ArgumentError, match=r"structure=.* is not known; use one of full, tied, diag, spherical"):
            as_structure(wrong)

    @pytest.mark.parametrize("letters", ["VIV", "EIE", "IVV", "xyz", ("V", "V", None)])
    def test_letters_that_are_no_structure(self, letters):
        with pytest.raises(ArgumentError, match=r"there is no covariance structure .*; use one of EII, VII"):
            CovarianceStructure(*letters)
