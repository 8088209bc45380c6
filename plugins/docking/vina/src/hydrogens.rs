//! Definite places for the hydrogens that Open Babel adds.
//!
//! Open Babel draws the direction of a hydrogen on an end of a chain (hydroxyl, ammonium, methyl,
//! water) from the clock, now and then at an impossible angle. The scoring functions pass over
//! hydrogens, but which atoms the engine takes for bonded to one depends on where it stands: so
//! two runs of one job would differ. Here every added hydrogen on an atom with at most one heavy
//! neighbour gets the place that geometry asks for: staggered, or in the plane of a flat
//! neighbour, and of the equal places the one farthest from other atoms. Hydrogens of the input
//! stay, and so does a single added one between two or more heavy atoms: its place follows from
//! them.

mod in_molecule;
mod in_receptor;

use bindery_chem::Element;

use crate::geometry::{Point, add, cross, distance_squared, dot, scale, subtract, unit};

pub(crate) use self::{in_molecule::settle_molecule, in_receptor::settle_receptor};

/// Input and prepared file agree to three decimals on a hydrogen that was kept.
const SAME_PLACE: f64 = 0.002;
/// Degrees between hydrogens around an axis.
const STAGGERED: f64 = 120.0;
const FLAT: f64 = 180.0;
/// Closer around the axis than this is the same place.
const OCCUPIED: f64 = 45.0;

/// An atom whose added hydrogens have no place of their own.
struct Rotor<'a> {
    center: Point,
    /// Its heavy atoms, in file order: one for an end of a chain, none for water and other loners.
    neighbours: &'a [Point],
    /// Other heavy atoms of the first neighbour, in file order.
    beyond: &'a [Point],
    /// Hydrogens on it that stay.
    kept: &'a [Point],
    /// How many hydrogens are to be placed.
    added: usize,
    element: Option<Element>,
}

/// Places for the rotor's hydrogens, given other atoms to keep away from.
fn place(rotor: &Rotor<'_>, obstacles: &[Point]) -> Vec<Point> {
    match rotor.neighbours {
        [] => place_alone(rotor),
        [neighbour] => place_around_axis(rotor, *neighbour, obstacles),
        _ => place_crowded(rotor),
    }
}

/// Whether chance is in the places of these hydrogens. With two or more heavy neighbours only the
/// first added one has a place that follows from them.
fn is_drawn(heavy_neighbours: usize, added: usize) -> bool {
    added > 0 && (heavy_neighbours <= 1 || added >= 2)
}

fn place_around_axis(rotor: &Rotor<'_>, neighbour: Point, obstacles: &[Point]) -> Vec<Point> {
    let axis = unit(subtract(rotor.center, neighbour)).unwrap_or([1.0, 0.0, 0.0]);
    let reference = rotor
        .kept
        .first()
        .map(|&kept| subtract(kept, rotor.center))
        .or_else(|| {
            rotor
                .beyond
                .first()
                .map(|&beyond| subtract(beyond, neighbour))
        });
    let across = reference
        .and_then(|reference| unit(subtract(reference, scale(axis, dot(axis, reference)))))
        .unwrap_or_else(|| perpendicular(axis));
    let third = cross(axis, across);
    // Nitrogen and oxygen share electrons with a flat neighbour and lie in its plane.
    let flat = matches!(rotor.element, Some(Element::N | Element::O))
        && rotor.kept.len() + rotor.added <= 2
        && is_flat(neighbour, rotor.center, rotor.beyond);
    let (spacing, angle) = if flat {
        (FLAT, 120.0_f64)
    } else {
        (STAGGERED, 109.47_f64)
    };
    let (along, out) = (-angle.to_radians().cos(), angle.to_radians().sin());
    let length = bond_length(rotor.element);
    let at = |turn: f64| {
        let (sine, cosine) = turn.to_radians().sin_cos();
        let direction = add(
            scale(axis, along),
            scale(add(scale(across, cosine), scale(third, sine)), out),
        );
        add(rotor.center, scale(direction, length))
    };
    let mut used: Vec<f64> = rotor
        .kept
        .iter()
        .map(|&kept| {
            let from_center = subtract(kept, rotor.center);
            dot(from_center, third)
                .atan2(dot(from_center, across))
                .to_degrees()
        })
        .collect();
    let mut placed = Vec::with_capacity(rotor.added);
    for _ in 0..rotor.added {
        // Opposite the first atom beyond, where nothing is kept.
        let start = used.first().copied().unwrap_or(180.0);
        let free = |turn: &f64| {
            used.iter()
                .all(|&other| turn_between(*turn, other) >= OCCUPIED)
        };
        let mut turns: Vec<f64> = multiples(start, spacing).filter(free).collect();
        if turns.is_empty() {
            turns = farthest(multiples(start, 30.0), &used);
        }
        let roominess = |turn: f64| {
            let point = at(turn);
            obstacles
                .iter()
                .map(|&other| distance_squared(point, other))
                .fold(f64::INFINITY, f64::min)
        };
        let mut best = (start, f64::NEG_INFINITY);
        for turn in turns {
            let room = roominess(turn);
            if room > best.1 {
                best = (turn, room);
            }
        }
        used.push(best.0);
        placed.push(at(best.0));
    }
    placed
}

/// Angles from `start` all round, in degrees.
fn multiples(start: f64, spacing: f64) -> impl Iterator<Item = f64> {
    (0..12_u8)
        .map(move |step| f64::from(step) * spacing)
        .take_while(|turn| *turn < 359.0)
        .map(move |turn| start + turn)
}

/// Those of the angles that keep the greatest distance from the used ones.
fn farthest(turns: impl Iterator<Item = f64>, used: &[f64]) -> Vec<f64> {
    let room = |turn: f64| {
        used.iter()
            .map(|&other| turn_between(turn, other))
            .fold(f64::INFINITY, f64::min)
    };
    let turns: Vec<f64> = turns.collect();
    let most = turns.iter().map(|&turn| room(turn)).fold(0.0, f64::max);
    turns
        .into_iter()
        .filter(|&turn| room(turn) > most - 1.0)
        .collect()
}

/// Degrees between two directions around the axis, 0..=180.
fn turn_between(a: f64, b: f64) -> f64 {
    let difference = (a - b).rem_euclid(360.0);
    difference.min(360.0 - difference)
}

/// Three neighbours in one plane with it.
fn is_flat(middle: Point, center: Point, beyond: &[Point]) -> bool {
    let [first, second] = beyond else {
        return false;
    };
    let directions = [center, *first, *second].map(|point| unit(subtract(point, middle)));
    match directions {
        [Some(a), Some(b), Some(c)] => dot(a, cross(b, c)).abs() < 0.2,
        _ => false,
    }
}

/// An atom without heavy neighbours: the corners of a tetrahedron that is fixed in space.
fn place_alone(rotor: &Rotor<'_>) -> Vec<Point> {
    const CORNER: f64 = 0.577_350_269_189_625_8;
    let corners = [
        [CORNER, CORNER, CORNER],
        [-CORNER, -CORNER, CORNER],
        [-CORNER, CORNER, -CORNER],
        [CORNER, -CORNER, -CORNER],
    ];
    let kept: Vec<Point> = rotor
        .kept
        .iter()
        .filter_map(|&kept| unit(subtract(kept, rotor.center)))
        .collect();
    let free = corners
        .iter()
        .filter(|&&corner| kept.iter().all(|&other| dot(corner, other) < 0.7));
    let length = bond_length(rotor.element);
    free.cycle()
        .take(rotor.added)
        .map(|&corner| add(rotor.center, scale(corner, length)))
        .collect()
}

/// Several hydrogens between several heavy atoms: each as far as it can be from all others.
fn place_crowded(rotor: &Rotor<'_>) -> Vec<Point> {
    let mut taken: Vec<Point> = rotor
        .neighbours
        .iter()
        .chain(rotor.kept)
        .filter_map(|&point| unit(subtract(point, rotor.center)))
        .collect();
    let length = bond_length(rotor.element);
    let mut placed = Vec::with_capacity(rotor.added);
    for _ in 0..rotor.added {
        let mut best = ([1.0, 0.0, 0.0], f64::INFINITY);
        for direction in directions() {
            let nearest = taken
                .iter()
                .map(|&other| dot(direction, other))
                .fold(f64::NEG_INFINITY, f64::max);
            if nearest < best.1 {
                best = (direction, nearest);
            }
        }
        taken.push(best.0);
        placed.push(add(rotor.center, scale(best.0, length)));
    }
    placed
}

/// Directions about five degrees apart (a Fibonacci lattice on the sphere).
fn directions() -> impl Iterator<Item = Point> {
    const COUNT: u32 = 2_000;
    const GOLDEN_ANGLE: f64 = 2.399_963_229_728_653;
    (0..COUNT).map(|index| {
        let height = 1.0 - 2.0 * (f64::from(index) + 0.5) / f64::from(COUNT);
        let across = (1.0 - height * height).sqrt();
        let (sine, cosine) = (f64::from(index) * GOLDEN_ANGLE).sin_cos();
        [across * cosine, across * sine, height]
    })
}

fn perpendicular(axis: Point) -> Point {
    let [x, y, z] = axis;
    // The coordinate axis that the vector follows least.
    let other = if x.abs() <= y.abs() && x.abs() <= z.abs() {
        [1.0, 0.0, 0.0]
    } else if y.abs() <= z.abs() {
        [0.0, 1.0, 0.0]
    } else {
        [0.0, 0.0, 1.0]
    };
    unit(cross(axis, other)).unwrap_or([0.0, 1.0, 0.0])
}

/// Usual bond lengths in angstrom. Those of the drawn places are rounded with them and would bring
/// chance back in the last digit.
fn bond_length(element: Option<Element>) -> f64 {
    match element {
        Some(Element::C) => 1.09,
        Some(Element::N) => 1.01,
        Some(Element::O) => 0.96,
        Some(Element::S) => 1.34,
        Some(Element::P) => 1.42,
        Some(Element::SI) => 1.48,
        _ => 1.2,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]

    use super::*;

    fn rotor<'a>(beyond: &'a [Point], kept: &'a [Point], added: usize) -> Rotor<'a> {
        Rotor {
            center: [0.0; 3],
            neighbours: &[[-1.5, 0.0, 0.0]],
            beyond,
            kept,
            added,
            element: Some(Element::N),
        }
    }

    fn angle(a: Point, b: Point) -> f64 {
        (dot(a, b) / dot(a, a).sqrt() / dot(b, b).sqrt())
            .acos()
            .to_degrees()
    }

    #[test]
    fn three_hydrogens_are_staggered() {
        let beyond = [[-2.0, 1.4, 0.0]];
        let placed = place(&rotor(&beyond, &[], 3), &[]);
        assert_eq!(placed.len(), 3);
        for (index, &a) in placed.iter().enumerate() {
            assert!((angle(a, [-1.5, 0.0, 0.0]) - 109.47).abs() < 0.1);
            for &b in &placed[..index] {
                assert!((angle(a, b) - 109.47).abs() < 0.1);
            }
        }
        // The first one opposite the atom beyond.
        assert!(placed[0][1] < -0.9);
    }

    #[test]
    fn an_amide_is_flat_and_a_kept_hydrogen_stays_where_it_is() {
        let beyond = [[-2.2, 1.2, 0.0], [-2.2, -1.2, 0.0]];
        let placed = place(&rotor(&beyond, &[], 2), &[]);
        assert!(placed.iter().all(|[_, _, z]| z.abs() < 1e-9));
        assert!((angle(placed[0], placed[1]) - 120.0).abs() < 0.1);
        let kept = [[0.5, -0.866, 0.0]];
        let placed = place(&rotor(&beyond, &kept, 1), &[]);
        assert!(placed[0][1] > 0.8 && placed[0][2].abs() < 1e-9);
    }

    #[test]
    fn a_hydroxyl_turns_away_from_what_is_near() {
        let beyond = [[-2.0, 1.4, 0.0]];
        let near = [[0.4, -1.8, 0.0]];
        let placed = place(&rotor(&beyond, &[], 1), &near);
        assert!(placed[0][1] > 0.0);
        // Three places are taken: the fourth is between two of them.
        let kept: Vec<Point> = place(&rotor(&beyond, &[], 3), &[]);
        assert_eq!(place(&rotor(&beyond, &kept, 1), &[]).len(), 1);
    }

    #[test]
    fn between_two_atoms_both_hydrogens_keep_away() {
        let neighbours = [[1.2, 0.8, 0.0], [-1.2, 0.8, 0.0]];
        let crowded = Rotor {
            neighbours: &neighbours,
            ..rotor(&[], &[], 2)
        };
        let placed = place(&crowded, &[]);
        for hydrogen in &placed {
            assert!(
                neighbours
                    .iter()
                    .all(|&heavy| angle(*hydrogen, heavy) > 80.0)
            );
        }
        assert!(angle(placed[0], placed[1]) > 60.0);
        assert!(is_drawn(1, 1) && is_drawn(2, 2) && !is_drawn(2, 1) && !is_drawn(0, 0));
    }

    #[test]
    fn water_has_a_fixed_orientation() {
        let alone = |kept: &'static [Point], added| Rotor {
            center: [5.0, 5.0, 5.0],
            neighbours: &[],
            beyond: &[],
            kept,
            added,
            element: Some(Element::O),
        };
        let placed = place(&alone(&[], 2), &[]);
        let from_center = |point| subtract(point, [5.0, 5.0, 5.0]);
        assert!((angle(from_center(placed[0]), from_center(placed[1])) - 109.47).abs() < 0.1);
        let placed = place(&alone(&[[5.6, 5.6, 5.6]], 1), &[]);
        assert!(angle(from_center(placed[0]), [1.0, 1.0, 1.0]) > 100.0);
    }
}
