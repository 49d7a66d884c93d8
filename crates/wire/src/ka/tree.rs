//! Who feeds whom.
//!
//! Nodes are placed in the order of their addresses. (An old server compares them byte-swapped
//! and with an overflow; the order is its private business.)

/// The parents of `count` nodes with at most `arity` children each; `None` is the server.
///
/// As ka-deploy places them: a node with a free place takes the newcomer, otherwise the
/// child does that has the fewest complete levels below it, the first one on ties.
pub fn parents(count: usize, arity: usize) -> Vec<Option<usize>> {
    let mut tree = Tree {
        arity: arity.max(1),
        children: vec![Vec::new()],
        levels: vec![0],
    };
    (0..count).map(|_| tree.place()).collect()
}

/// Place 0 is the server, place k is node k - 1.
struct Tree {
    arity: usize,
    children: Vec<Vec<usize>>,
    /// Complete levels below each.
    levels: Vec<usize>,
}

impl Tree {
    fn place(&mut self) -> Option<usize> {
        let mut path = vec![0];
        let mut here = 0;
        while self.children[here].len() >= self.arity {
            let emptiest = self.children[here]
                .iter()
                .copied()
                .min_by_key(|child| self.levels[*child]);
            // A place without a free seat has children.
            here = emptiest.unwrap_or(here);
            path.push(here);
        }
        let new = self.children.len();
        self.children.push(Vec::new());
        self.levels.push(0);
        self.children[here].push(new);
        for place in path.into_iter().rev() {
            let full = self.children[place].len() >= self.arity;
            let lowest = self.children[place].iter().map(|c| self.levels[*c]).min();
            self.levels[place] = if full { lowest.unwrap_or(0) + 1 } else { 0 };
        }
        here.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `S{c1{c3{c7},c4},c2{c5,c6}}`.
    fn drawn(count: usize, arity: usize) -> String {
        let parents = parents(count, arity);
        fn of(parents: &[Option<usize>], parent: Option<usize>) -> String {
            let children: Vec<String> = (0..parents.len())
                .filter(|i| parents[*i] == parent)
                .map(|i| format!("c{}{}", i + 1, of(parents, Some(i))))
                .collect();
            match children.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", children.join(",")),
            }
        }
        format!("S{}", of(&parents, None))
    }

    #[test]
    fn seven_nodes_stand_where_the_old_server_put_them() {
        assert_eq!(drawn(7, 1), "S{c1{c2{c3{c4{c5{c6{c7}}}}}}}");
        assert_eq!(drawn(7, 2), "S{c1{c3{c7},c4},c2{c5,c6}}");
        assert_eq!(drawn(7, 3), "S{c1{c4,c5,c6},c2{c7},c3}");
        assert_eq!(drawn(7, 4), "S{c1{c5,c6,c7},c2,c3,c4}");
    }

    #[test]
    fn nobody_has_too_many_children_and_all_have_a_parent_before_them() {
        for (count, arity) in [(100, 1), (100, 2), (300, 3), (300, 4), (50, 0)] {
            let parents = parents(count, arity);
            for (i, parent) in parents.iter().enumerate() {
                assert!(parent.is_none_or(|p| p < i));
                let children = parents.iter().filter(|p| **p == Some(i)).count();
                assert!(children <= arity.max(1));
            }
        }
    }
}
