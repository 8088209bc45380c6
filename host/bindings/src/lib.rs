//! Host side of the contract: generated bindings and the conversions to core types.
//!
//! One module per exported interface: a component's facets are looked up one by one, so that a
//! plugin may combine them and a world that is added later needs no new host type here. All
//! conversions between generated types and [`bindery_core`] live in [`convert`], as `From` or as
//! a checked function, once; the rest of the host never sees a generated type.
//!
//! The modules here are those of the current contract, from `wit/`. A published version that came
//! before has a module of its own ([`v0_1`], from `wit/0.1.0/`), and [`facets`] picks one of them
//! at load, by the version of the interface that a component exports. What a guest of an older
//! version says becomes the current type by `From`, in `v0_1`, and nowhere else.

pub mod convert;
pub mod facets;
pub mod v0_1;

/// Shared types and what the host lends to guests.
pub mod host {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::restriction,
        reason = "generated"
    )]
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package bindery:host@0.1.0; world host {
            include bindery:task/imports@0.2.0;
            import bindery:task/types@0.2.0;
        }",
        world: "bindery:host/host",
        imports: { default: trappable },
        with: { "bindery:task/assets.asset": crate::Asset },
        additional_derives: [PartialEq],
    });
}

macro_rules! facet {
    ($(#[$doc:meta])* $module:ident, $inline:literal, $world:literal) => {
        $(#[$doc])*
        pub mod $module {
            #![allow(missing_docs, unreachable_pub, clippy::all, clippy::restriction, reason = "generated")]
            wasmtime::component::bindgen!({
                path: "../../wit",
                inline: $inline,
                world: $world,
                exports: { default: async },
                with: { "bindery:task/types": crate::host::bindery::task::types },
                additional_derives: [PartialEq],
            });
        }
    };
}

facet!(
    /// The facet every task plugin has.
    definition,
    "package bindery:host@0.1.0; world definition-facet { export bindery:task/definition@0.2.0; }",
    "bindery:host/definition-facet"
);
facet!(
    /// Tasks whose work is done by engines.
    engine,
    "package bindery:host@0.1.0; world engine-facet { export bindery:task/engine-task@0.2.0; }",
    "bindery:host/engine-facet"
);
facet!(
    /// Tasks that compute inside the guest.
    compute,
    "package bindery:host@0.1.0; world compute-facet { export bindery:task/compute-task@0.2.0; }",
    "bindery:host/compute-facet"
);
facet!(
    /// File formats.
    format,
    "package bindery:host@0.1.0; world format-facet { export bindery:task/format@0.2.0; }",
    "bindery:host/format-facet"
);

/// Reference data a guest was granted: an open file and its size.
#[derive(Debug)]
pub struct Asset {
    pub file: std::fs::File,
    pub size_bytes: u64,
}
