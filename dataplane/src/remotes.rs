//! Which Endpoints of other clusters are believed.
