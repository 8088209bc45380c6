//! Generated bindings. Hidden: use the traits and the `register_*` macros.
//!
//! One module per exported interface instead of one per world of the contract, as the exported
//! macros of two worlds with a common interface would collide. The linker joins the worlds
//! again: a component that exports `definition` and `engine-task` is an `engine-task-plugin`.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]

/// Shared types and the host's imports; the other modules reuse these.
pub mod host {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package bindery:sdk@0.1.0; world host {
            include bindery:task/imports@0.2.0;
            import bindery:task/types@0.2.0;
        }",
        world: "bindery:sdk/host",
        generate_all,
        additional_derives: [PartialEq],
    });
}

pub mod definition {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package bindery:sdk@0.1.0; world definition { export bindery:task/definition@0.2.0; }",
        world: "bindery:sdk/definition",
        pub_export_macro: true,
        export_macro_name: "export_definition",
        default_bindings_module: "bindery_sdk::bindings::definition",
        additional_derives: [PartialEq],
        with: { "bindery:task/types@0.2.0": crate::bindings::host::bindery::task::types },
    });
}

pub mod engine {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package bindery:sdk@0.1.0; world engine { export bindery:task/engine-task@0.2.0; }",
        world: "bindery:sdk/engine",
        pub_export_macro: true,
        export_macro_name: "export_engine_task",
        default_bindings_module: "bindery_sdk::bindings::engine",
        additional_derives: [PartialEq],
        with: { "bindery:task/types@0.2.0": crate::bindings::host::bindery::task::types },
    });
}

pub mod compute {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package bindery:sdk@0.1.0; world compute { export bindery:task/compute-task@0.2.0; }",
        world: "bindery:sdk/compute",
        pub_export_macro: true,
        export_macro_name: "export_compute_task",
        default_bindings_module: "bindery_sdk::bindings::compute",
        additional_derives: [PartialEq],
        with: { "bindery:task/types@0.2.0": crate::bindings::host::bindery::task::types },
    });
}

pub mod format {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package bindery:sdk@0.1.0; world format { export bindery:task/format@0.2.0; }",
        world: "bindery:sdk/format",
        pub_export_macro: true,
        export_macro_name: "export_format",
        default_bindings_module: "bindery_sdk::bindings::format",
        additional_derives: [PartialEq],
        with: { "bindery:task/types@0.2.0": crate::bindings::host::bindery::task::types },
    });
}
