//! The engine's output file: models with remarks, each a torsion tree with moved atoms.

use std::fmt;

use crate::torsion_tree::{TorsionTree, TreeError};

/// More than the engine is ever asked for.
const MODELS_MAX: usize = 1_000;

/// One pose. Energies are kcal/mol, distances angstrom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    pub(crate) affinity: f64,
    /// Distance to the best pose: at least, at most.
    pub(crate) rmsd_lower: f64,
    pub(crate) rmsd_upper: f64,
    /// With the receptor, within the ligand, and of the unbound ligand; engines of the 1.1 line
    /// do not tell.
    pub(crate) inter: Option<f64>,
    pub(crate) intra: Option<f64>,
    pub(crate) unbound: Option<f64>,
    pub(crate) tree: TorsionTree,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OutputError {
    NoModels,
    TooManyModels,
    /// Line from 1.
    OutsideModel(usize),
    Unfinished(usize),
    NoResult(usize),
    BadRemark(usize),
    Tree(TreeError),
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModels => f.write_str("it holds no poses"),
            Self::TooManyModels => write!(f, "it holds more than {MODELS_MAX} poses"),
            Self::OutsideModel(line) => write!(f, "line {line} stands outside MODEL and ENDMDL"),
            Self::Unfinished(model) => write!(f, "pose {model} is cut off before ENDMDL"),
            Self::NoResult(model) => write!(f, "pose {model} has no `REMARK VINA RESULT`"),
            Self::BadRemark(line) => write!(f, "line {line}: a result is not a finite number"),
            Self::Tree(error) => error.fmt(f),
        }
    }
}

/// Reads all poses, in the engine's order.
pub(crate) fn read_models(text: &str) -> Result<Vec<Model>, OutputError> {
    let mut models = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        match (line.split_ascii_whitespace().next(), &mut open) {
            (None, _) => {}
            (Some("MODEL"), None) => {
                if models.len() >= MODELS_MAX {
                    return Err(OutputError::TooManyModels);
                }
                open = Some(Open {
                    first_line: number + 1,
                    lines: Vec::new(),
                    values: [None; 6],
                });
            }
            (Some("ENDMDL"), Some(_)) => {
                if let Some(model) = open.take() {
                    models.push(model.finish(models.len() + 1)?);
                }
            }
            (Some("MODEL"), Some(_)) => return Err(OutputError::Unfinished(models.len() + 1)),
            (Some(_), None) => return Err(OutputError::OutsideModel(number)),
            (Some(_), Some(model)) => {
                model
                    .remark(line)
                    .map_err(|()| OutputError::BadRemark(number))?;
                model.lines.push(line);
            }
        }
    }
    if open.is_some() {
        return Err(OutputError::Unfinished(models.len() + 1));
    }
    if models.is_empty() {
        return Err(OutputError::NoModels);
    }
    Ok(models)
}

struct Open<'t> {
    first_line: usize,
    lines: Vec<&'t str>,
    /// Affinity, two distances, inter, intra, unbound.
    values: [Option<f64>; 6],
}

impl Open<'_> {
    fn remark(&mut self, line: &str) -> Result<(), ()> {
        let [affinity, lower, upper, inter, intra, unbound] = &mut self.values;
        let (rest, slots): (&str, Vec<&mut Option<f64>>) =
            if let Some(rest) = line.strip_prefix("REMARK VINA RESULT:") {
                (rest, vec![affinity, lower, upper])
            } else if let Some(rest) = line.strip_prefix("REMARK INTER:") {
                (rest, vec![inter])
            } else if let Some(rest) = line.strip_prefix("REMARK INTRA:") {
                (rest, vec![intra])
            } else if let Some(rest) = line.strip_prefix("REMARK UNBOUND:") {
                (rest, vec![unbound])
            } else {
                return Ok(());
            };
        let mut words = rest.split_ascii_whitespace();
        for slot in slots {
            let value = words
                .next()
                .and_then(|word| word.parse::<f64>().ok())
                .ok_or(())?;
            if !value.is_finite() {
                return Err(());
            }
            *slot = Some(value);
        }
        Ok(())
    }

    fn finish(self, model: usize) -> Result<Model, OutputError> {
        let [affinity, lower, upper, inter, intra, unbound] = self.values;
        let (Some(affinity), Some(rmsd_lower), Some(rmsd_upper)) = (affinity, lower, upper) else {
            return Err(OutputError::NoResult(model));
        };
        let tree = TorsionTree::read(self.lines, self.first_line).map_err(OutputError::Tree)?;
        Ok(Model {
            affinity,
            rmsd_lower,
            rmsd_upper,
            inter,
            intra,
            unbound,
            tree,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    const TWO: &str = "\
MODEL 1
REMARK VINA RESULT:    -7.659      0.000      0.000
REMARK INTER + INTRA:          -8.155
REMARK INTER:                  -8.007
REMARK INTRA:                  -0.148
REMARK UNBOUND:                -0.148
REMARK  Name = ligand
ROOT
ATOM      1  C   UNL     1      27.357   6.772   3.388  0.00  0.00    +0.000 A 
ENDROOT
TORSDOF 0
ENDMDL
MODEL 2
REMARK VINA RESULT:    -6.000      1.500      2.500
ROOT
ATOM      1  C   UNL     1      28.357   6.772   3.388  0.00  0.00    +0.000 A 
ENDROOT
TORSDOF 0
ENDMDL
";

    #[test]
    fn poses_come_in_the_engines_order_with_their_terms() {
        let models = read_models(TWO).unwrap();
        assert_eq!(models.len(), 2);
        assert_eq!(models[0].affinity, -7.659);
        assert_eq!(models[0].inter, Some(-8.007));
        assert_eq!((models[1].rmsd_lower, models[1].rmsd_upper), (1.5, 2.5));
        assert_eq!(models[1].unbound, None);
        assert_eq!(models[1].tree.atoms[0].position, [28.357, 6.772, 3.388]);
    }

    #[test]
    fn what_is_cut_off_or_not_a_number_is_no_result() {
        assert_eq!(read_models(""), Err(OutputError::NoModels));
        assert_eq!(
            read_models(&TWO[..TWO.len() - 8]),
            Err(OutputError::Unfinished(2))
        );
        assert_eq!(
            read_models(&TWO.replace("-7.659", "nan")),
            Err(OutputError::BadRemark(2))
        );
        assert_eq!(
            read_models(&TWO.replace("REMARK VINA RESULT:    -6.0", "REMARK X -6.0")),
            Err(OutputError::NoResult(2))
        );
        assert_eq!(read_models("ROOT\n"), Err(OutputError::OutsideModel(1)));
        let bad = read_models(&TWO.replace("28.357", "   nan")).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "line 16: the coordinate `nan` is not a number"
        );
    }
}
