//! The search box: an axis-aligned cuboid that all heavy atoms of a pose lie in.
//!
//! The engine checks it late or never: a box far from the receptor ends well with an affinity of
//! 0, one smaller than the ligand with 8e7, one that is not a number never. So all of that is
//! refused here, before anything runs. Lengths are angstrom, volumes cubic angstrom.

use bindery_sdk::{
    Notice, Violation,
    serde_json::{Value, json},
};

use crate::geometry::{Point, distance, dot, extent, longest_distance, rotations};

/// Coordinates that fit the eight columns of the PDB family of formats.
const COORDINATE_MAX: f64 = 9_999.0;
/// The longest proteins fit; nothing else needs more.
const SIDE_MAX: f64 = 160.0;
/// A cube of 80. The engine's maps and tables take about 2 GB for it (measured: 1.4 GB), and a
/// search of such a volume finds nothing that several smaller boxes would not find better.
const VOLUME_MAX: f64 = 512_000.0;
/// Where the engine itself begins to warn: a cube of 30.
const VOLUME_LARGE: f64 = 27_000.0;
/// Two heavy atoms in contact; a receptor farther from the box than this touches no pose in it.
const CONTACT: f64 = 4.0;
/// Fewer receptor atoms than this within contact of the box: it lies mostly in the solvent.
const ATOMS_NEAR_FEW: usize = 15;
/// How far an atom reaches beyond its centre.
const ATOM_RADIUS: f64 = 1.7;
/// Volume of organic matter per heavy atom, with its hydrogens.
const VOLUME_PER_ATOM: f64 = 20.0;
/// A flexible ligand folds, but not to less than two thirds of its drawn length over the diagonal.
const FOLDING: f64 = 1.5;
/// Allowance for the orientations that [`fits`] does not try: they are about 6 degrees apart, and
/// rigid parts seldom reach 5 angstrom from their middle.
const ORIENTATION_SLACK: f64 = 0.5;
const ORIENTATIONS: u32 = 20_000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SearchBox {
    pub(crate) center: Point,
    pub(crate) size: Point,
}

/// What the box must be able to hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LigandShape {
    pub(crate) heavy_atoms: usize,
    /// Positions of the atoms of each part that no torsion bends; empty when the file has no
    /// three-dimensional coordinates.
    pub(crate) rigid_parts: Vec<Vec<Point>>,
    /// Longest distance between heavy atoms as drawn; none without three dimensions.
    pub(crate) length: Option<f64>,
}

impl SearchBox {
    /// The smallest box that holds these points, and `padding` more on each side.
    pub(crate) fn around(points: impl IntoIterator<Item = Point>, padding: f64) -> Option<Self> {
        let ([ax, ay, az], [bx, by, bz]) = extent(points)?;
        let middle = |a: f64, b: f64| round((a + b) / 2.0);
        let side = |a: f64, b: f64| round(b - a + 2.0 * padding);
        Some(Self {
            center: [middle(ax, bx), middle(ay, by), middle(az, bz)],
            size: [side(ax, bx), side(ay, by), side(az, bz)],
        })
    }

    pub(crate) fn to_json(self) -> Value {
        json!({ "center": self.center, "size": self.size })
    }

    pub(crate) fn volume(&self) -> f64 {
        self.size.iter().product()
    }

    fn diagonal(&self) -> f64 {
        dot(self.size, self.size).sqrt()
    }

    fn longest_side(&self) -> f64 {
        self.size.iter().copied().fold(0.0, f64::max)
    }

    /// How far this point lies outside, along the axis where it is worst; 0 inside.
    pub(crate) fn outside(&self, point: Point) -> f64 {
        point
            .iter()
            .zip(self.center.iter().zip(&self.size))
            .map(|(x, (middle, side))| (x - middle).abs() - side / 2.0)
            .fold(0.0, f64::max)
    }

    /// Faults of the box alone.
    pub(crate) fn faults(&self) -> Vec<Violation> {
        let mut faults = Vec::new();
        for (axis, (name, &middle)) in ["x", "y", "z"].iter().zip(&self.center).enumerate() {
            if !middle.is_finite() || middle.abs() > COORDINATE_MAX {
                faults.push(Violation::new(
                    format!("/parameters/box/center/{axis}"),
                    "out_of_range",
                    format!(
                        "the center's {name} must be a finite number from -{COORDINATE_MAX} to \
                         {COORDINATE_MAX} angstrom, not {middle}"
                    ),
                ));
            }
        }
        for (axis, (name, &side)) in ["x", "y", "z"].iter().zip(&self.size).enumerate() {
            if !side.is_finite() || side <= 0.0 || side > SIDE_MAX {
                faults.push(Violation::new(
                    format!("/parameters/box/size/{axis}"),
                    "out_of_range",
                    format!(
                        "the size along {name} must be more than 0 and at most {SIDE_MAX} \
                         angstrom, not {side}"
                    ),
                ));
            }
        }
        if faults.is_empty() && self.volume() > VOLUME_MAX {
            faults.push(Violation::new(
                "/parameters/box/size",
                "box_too_large",
                format!(
                    "the box holds {:.0} cubic angstrom, more than the {VOLUME_MAX:.0} that can \
                     be searched sensibly; search several smaller boxes instead",
                    self.volume()
                ),
            ));
        }
        faults
    }

    /// What a user should know of a box that is accepted.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        if self.volume() <= VOLUME_LARGE {
            return Vec::new();
        }
        vec![Notice::warning(
            "large_box",
            format!(
                "the box holds {:.0} cubic angstrom; above {VOLUME_LARGE:.0} the search becomes \
                 unreliable unless exhaustiveness is raised",
                self.volume()
            ),
        )]
    }

    /// The box must touch the receptor. Counts heavy atoms within contact of it.
    pub(crate) fn check_receptor(
        &self,
        pointer: &str,
        heavy_atoms: impl IntoIterator<Item = Point>,
    ) -> Result<Vec<Notice>, Violation> {
        let mut nearest = f64::INFINITY;
        let mut near = 0_usize;
        for point in heavy_atoms {
            let outside = self.outside(point);
            nearest = nearest.min(outside);
            near += usize::from(outside <= CONTACT);
        }
        if near == 0 {
            let [x, y, z] = self.center;
            return Err(Violation::new(
                pointer,
                "box_outside_receptor",
                format!(
                    "no receptor atom lies in or near the box around ({x}, {y}, {z}): the \
                     nearest is {nearest:.1} angstrom away from it; move the center onto the \
                     binding site"
                ),
            ));
        }
        if near < ATOMS_NEAR_FEW {
            return Ok(vec![Notice::warning(
                "box_mostly_empty",
                format!("only {near} receptor atoms lie in or near the box: most of it is solvent"),
            )]);
        }
        Ok(Vec::new())
    }

    /// The box must be able to hold the ligand. Only what is impossible in every conformation is
    /// refused; a box that is merely tight is noticed.
    pub(crate) fn check_ligand(
        &self,
        pointer: &str,
        shape: &LigandShape,
    ) -> Result<Vec<Notice>, Violation> {
        let too_small = |why: String| Err(Violation::new(pointer, "box_too_small", why));
        let [x, y, z] = self.size;
        for part in &shape.rigid_parts {
            if !self.fits(part) {
                return too_small(format!(
                    "a rigid part of the ligand, {:.1} angstrom long, does not fit into \
                     {x} x {y} x {z} angstrom in any orientation",
                    longest_distance(part)
                ));
            }
        }
        let room: f64 = self
            .size
            .iter()
            .map(|side| side + 2.0 * ATOM_RADIUS)
            .product();
        // A ligand has few hundred heavy atoms: the conversion is exact.
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let needed = shape.heavy_atoms as f64 * VOLUME_PER_ATOM;
        if room < needed {
            return too_small(format!(
                "the ligand's {} heavy atoms take about {needed:.0} cubic angstrom and do not \
                 fit into {x} x {y} x {z} angstrom however it folds",
                shape.heavy_atoms
            ));
        }
        let Some(length) = shape.length else {
            return Ok(Vec::new());
        };
        if length > self.diagonal() * FOLDING {
            return too_small(format!(
                "the ligand is {length:.1} angstrom long and the box only {:.1} angstrom from \
                 corner to corner",
                self.diagonal()
            ));
        }
        if length > self.longest_side() {
            return Ok(vec![Notice::warning(
                "tight_box",
                format!(
                    "the ligand is {length:.1} angstrom long as given, more than the longest \
                     side of the box: only folded poses can be found"
                ),
            )]);
        }
        Ok(Vec::new())
    }

    /// Whether these points fit in some orientation.
    fn fits(&self, points: &[Point]) -> bool {
        let shortest_side = self.size.iter().copied().fold(f64::INFINITY, f64::min);
        if longest_distance(points) <= shortest_side {
            return true;
        }
        rotations(ORIENTATIONS).any(|rows| {
            let turned = points.iter().map(|&point| rows.map(|row| dot(row, point)));
            extent(turned).is_none_or(|(low, high)| {
                low.iter()
                    .zip(&high)
                    .zip(&self.size)
                    .all(|((low, high), side)| high - low <= side + ORIENTATION_SLACK)
            })
        })
    }

    /// How near the middle of the box a point lies, for telling what fills it.
    pub(crate) fn center_distance(&self, point: Point) -> f64 {
        distance(self.center, point)
    }
}

/// To the thousandth of the file formats, so that a box made here reads like one typed in.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0 + 0.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    fn cube(side: f64) -> SearchBox {
        SearchBox {
            center: [0.0; 3],
            size: [side; 3],
        }
    }

    /// A six-ring with a substituent on either end: a rigid part of 5.8 angstrom.
    fn phenylene() -> Vec<Point> {
        let mut points: Vec<Point> = (0..6)
            .map(|corner| {
                let angle = f64::from(corner) * std::f64::consts::FRAC_PI_3;
                [1.4 * angle.cos(), 1.4 * angle.sin(), 0.0]
            })
            .collect();
        points.push([2.9, 0.0, 0.0]);
        points.push([-2.9, 0.0, 0.0]);
        points
    }

    #[test]
    fn a_box_around_points_has_the_padding_on_each_side() {
        let around = SearchBox::around([[0.0, 0.0, 0.0], [2.0, 4.0, -6.0]], 4.0).unwrap();
        assert_eq!(around.center, [1.0, 2.0, -3.0]);
        assert_eq!(around.size, [10.0, 12.0, 14.0]);
        assert_eq!(SearchBox::around([], 4.0), None);
    }

    #[test]
    fn wrong_boxes_are_told_side_by_side() {
        let wrong = SearchBox {
            center: [f64::NAN, 0.0, 1e6],
            size: [0.0, -1.0, 500.0],
        };
        let pointers: Vec<_> = wrong
            .faults()
            .into_iter()
            .map(|fault| fault.pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                "/parameters/box/center/0",
                "/parameters/box/center/2",
                "/parameters/box/size/0",
                "/parameters/box/size/1",
                "/parameters/box/size/2",
            ]
        );
        assert_eq!(cube(90.0).faults()[0].code, "box_too_large");
        assert_eq!(cube(80.0).faults(), []);
        assert_eq!(cube(60.0).notices()[0].code, "large_box");
        assert_eq!(cube(30.0).notices(), []);
    }

    #[test]
    fn a_box_away_from_the_receptor_is_refused() {
        let atoms = [[14.5, 0.0, 0.0], [30.0, 0.0, 0.0]];
        let fault = cube(20.0)
            .check_receptor("/parameters/box", atoms)
            .unwrap_err();
        assert_eq!(fault.code, "box_outside_receptor");
        assert!(fault.message.contains("4.5 angstrom"), "{}", fault.message);
        let notices = cube(21.0).check_receptor("/parameters/box", atoms).unwrap();
        assert_eq!(notices[0].code, "box_mostly_empty");
    }

    #[test]
    fn what_cannot_fit_in_any_orientation_is_refused() {
        let shape = LigandShape {
            heavy_atoms: 8,
            length: Some(5.8),
            rigid_parts: vec![phenylene()],
        };
        assert_eq!(
            cube(2.5).check_ligand("/p", &shape).unwrap_err().code,
            "box_too_small"
        );
        assert_eq!(cube(10.0).check_ligand("/p", &shape), Ok(Vec::new()));
        // Along the diagonal it fits, which a notice tells.
        assert_eq!(
            cube(4.6).check_ligand("/p", &shape).unwrap()[0].code,
            "tight_box"
        );
        // A slit as wide as the ring is flat.
        let slit = SearchBox {
            center: [0.0; 3],
            size: [0.1, 6.0, 3.0],
        };
        assert!(slit.fits(&phenylene()));
    }

    #[test]
    fn many_atoms_and_long_chains_need_room_even_when_every_bond_turns() {
        let chain = |heavy_atoms, length| LigandShape {
            heavy_atoms,
            length: Some(length),
            rigid_parts: vec![vec![[0.0; 3], [1.5, 0.0, 0.0]]],
        };
        assert!(cube(5.0).check_ligand("/p", &chain(37, 8.0)).is_err());
        assert!(cube(5.0).check_ligand("/p", &chain(10, 14.0)).is_err());
        assert!(cube(15.0).check_ligand("/p", &chain(37, 20.0)).is_ok());
    }
}
