//! Chance with a shape: quantiles, lognormal sizes, weights.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "sizes of files are far below 2^52"
)]

use fastrand::Rng;

/// Sizes by their quantiles: knots of (share, bytes), log-linear between them.
#[derive(Clone, Copy)]
pub(crate) struct Quantiles(pub(crate) &'static [(f64, f64)]);

impl Quantiles {
    /// The size below which `share` of all sizes lie.
    pub(crate) fn at(self, share: f64) -> usize {
        let above = self.0.iter().position(|knot| knot.0 >= share);
        let above = above.unwrap_or(self.0.len() - 1).max(1);
        let (low, high) = (self.0[above - 1], self.0[above]);
        let within = ((share - low.0) / (high.0 - low.0)).clamp(0.0, 1.0);
        (low.1.ln() + within * (high.1.ln() - low.1.ln())).exp().round() as usize
    }

    pub(crate) fn draw(self, rng: &mut Rng) -> usize {
        self.at(rng.f64())
    }

    /// `count` sizes that have these quantiles exactly, none above `max`, the largest first.
    pub(crate) fn spread(self, count: usize, max: usize) -> Vec<usize> {
        let last = count.saturating_sub(1).max(1) as f64;
        let sizes = (0..count).rev().map(|rank| self.at(rank as f64 / last));
        sizes.map(|size| size.min(max)).collect()
    }

    /// As many such sizes as come nearest to `total` bytes.
    pub(crate) fn filling(self, total: usize, max: usize) -> Vec<usize> {
        let (mut low, mut high) = (1, total / self.at(0.3) + 2);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.spread(middle, max).iter().sum::<usize>() < total {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.spread(low, max)
    }
}

/// A size whose logarithm is normal.
pub(crate) fn lognormal(rng: &mut Rng, median: f64, sigma: f64) -> usize {
    let radius = (-2.0 * rng.f64().max(1e-12).ln()).sqrt();
    let normal = radius * (std::f64::consts::TAU * rng.f64()).cos();
    (median * (sigma * normal).exp()).round() as usize
}

/// Things that are drawn by weight.
pub(crate) struct Weights(Vec<f64>);

impl Weights {
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        Self(
            weights
                .into_iter()
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        )
    }

    /// Zipf's law: the weight of a rank is one by a power of it.
    pub(crate) fn zipf(count: usize, power: f64) -> Self {
        Self::new((1..=count).map(|rank| (rank as f64).powf(-power)))
    }

    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        let at = rng.f64() * self.0.last().copied().unwrap_or_default();
        self.0.partition_point(|sum| *sum <= at).min(self.0.len() - 1)
    }
}

/// `share` of `total`.
pub(crate) fn part(total: usize, share: f64) -> usize {
    (total as f64 * share).round() as usize
}

/// A count that is meant for 1 GiB, for `total` bytes: at least one.
pub(crate) fn scaled(count: usize, total: usize) -> usize {
    (count as f64 * total as f64 / f64::from(1 << 30)).ceil().max(1.0) as usize
}
