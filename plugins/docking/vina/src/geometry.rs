//! Points and rigid motions, in angstrom.

/// x, y, z.
pub(crate) type Point = [f64; 3];

pub(crate) fn add([ax, ay, az]: Point, [bx, by, bz]: Point) -> Point {
    [ax + bx, ay + by, az + bz]
}

pub(crate) fn subtract([ax, ay, az]: Point, [bx, by, bz]: Point) -> Point {
    [ax - bx, ay - by, az - bz]
}

pub(crate) fn scale([x, y, z]: Point, factor: f64) -> Point {
    [x * factor, y * factor, z * factor]
}

pub(crate) fn dot([ax, ay, az]: Point, [bx, by, bz]: Point) -> f64 {
    ax.mul_add(bx, ay.mul_add(by, az * bz))
}

pub(crate) fn cross([ax, ay, az]: Point, [bx, by, bz]: Point) -> Point {
    [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
}

pub(crate) fn distance_squared(a: Point, b: Point) -> f64 {
    let between = subtract(a, b);
    dot(between, between)
}

pub(crate) fn distance(a: Point, b: Point) -> f64 {
    distance_squared(a, b).sqrt()
}

/// None for a vector too short to have a direction.
pub(crate) fn unit(vector: Point) -> Option<Point> {
    let length = dot(vector, vector).sqrt();
    (length > 1e-6).then(|| scale(vector, 1.0 / length))
}

/// Smallest and largest coordinates; None without points.
pub(crate) fn extent(points: impl IntoIterator<Item = Point>) -> Option<(Point, Point)> {
    let mut points = points.into_iter();
    let first = points.next()?;
    Some(
        points.fold((first, first), |([ax, ay, az], [bx, by, bz]), [x, y, z]| {
            (
                [ax.min(x), ay.min(y), az.min(z)],
                [bx.max(x), by.max(y), bz.max(z)],
            )
        }),
    )
}

/// Longest distance between any two points. Quadratic, for molecules of ligand size.
pub(crate) fn longest_distance(points: &[Point]) -> f64 {
    let mut longest = 0.0_f64;
    for (index, &a) in points.iter().enumerate() {
        for &b in points.iter().skip(index + 1) {
            longest = longest.max(distance_squared(a, b));
        }
    }
    longest.sqrt()
}

/// A right-handed frame fixed to three points of a rigid body: says where a fourth is, and finds
/// it again after the body has moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    origin: Point,
    axes: [Point; 3],
}

impl Frame {
    /// None when the points are (nearly) on one line.
    pub(crate) fn new(origin: Point, along: Point, aside: Point) -> Option<Self> {
        let x = unit(subtract(along, origin))?;
        let to_aside = unit(subtract(aside, origin))?;
        // Below about 6 degrees the rounding of coordinates to 0.001 would turn the frame.
        let z = cross(x, to_aside);
        if dot(z, z) < 0.01 {
            return None;
        }
        let z = unit(z)?;
        Some(Self {
            origin,
            axes: [x, cross(z, x), z],
        })
    }

    pub(crate) fn local(&self, point: Point) -> Point {
        let from_origin = subtract(point, self.origin);
        self.axes.map(|axis| dot(axis, from_origin))
    }

    pub(crate) fn global(&self, [x, y, z]: Point) -> Point {
        let [ax, ay, az] = self.axes;
        add(
            self.origin,
            add(scale(ax, x), add(scale(ay, y), scale(az, z))),
        )
    }
}

/// `count` rotations spread evenly over all (super-Fibonacci spirals, Alexa, CVPR 2022), as
/// matrices of three rows. Deterministic.
pub(crate) fn rotations(count: u32) -> impl Iterator<Item = [Point; 3]> {
    const PHI: f64 = std::f64::consts::SQRT_2;
    const PSI: f64 = 1.533_751_168_755_204_3;
    (0..count).map(move |index| {
        let step = f64::from(index) + 0.5;
        let share = step / f64::from(count);
        let (small, large) = (share.sqrt(), (1.0 - share).sqrt());
        let (alpha, beta) = (
            std::f64::consts::TAU * step / PHI,
            std::f64::consts::TAU * step / PSI,
        );
        let (x, y, z, w) = (
            small * alpha.sin(),
            small * alpha.cos(),
            large * beta.sin(),
            large * beta.cos(),
        );
        [
            [
                1.0 - 2.0 * (y * y + z * z),
                2.0 * (x * y - z * w),
                2.0 * (x * z + y * w),
            ],
            [
                2.0 * (x * y + z * w),
                1.0 - 2.0 * (x * x + z * z),
                2.0 * (y * z - x * w),
            ],
            [
                2.0 * (x * z - y * w),
                2.0 * (y * z + x * w),
                1.0 - 2.0 * (x * x + y * y),
            ],
        ]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn a_frame_finds_a_point_again_after_any_rotation() {
        let body = [
            [0.0, 0.0, 0.0],
            [1.5, 0.0, 0.0],
            [2.0, 1.4, 0.0],
            [-0.3, -0.6, 0.8],
        ];
        let [a, b, c, d] = body;
        let local = Frame::new(a, b, c).unwrap().local(d);
        for rows in rotations(50) {
            let [a, b, c, d] =
                body.map(|point| add(rows.map(|row| dot(row, point)), [5.0, -7.0, 9.0]));
            let found = Frame::new(a, b, c).unwrap().global(local);
            assert!(distance(found, d) < 1e-9);
        }
        assert!(Frame::new([0.0; 3], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]).is_none());
    }

    #[test]
    fn extent_and_longest_distance() {
        let points = [[0.0, 1.0, 2.0], [3.0, 1.0, -2.0]];
        assert_eq!(extent(points), Some(([0.0, 1.0, -2.0], [3.0, 1.0, 2.0])));
        assert!((longest_distance(&points) - 5.0).abs() < 1e-12);
        assert_eq!(extent([]), None);
    }
}
