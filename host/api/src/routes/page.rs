//! From a page of records to a page of documents.

use bindery_dispatcher::Page;

/// Items and the cursor for the next page.
pub(super) fn documents<T, D>(
    page: Page<T>,
    document: impl FnMut(T) -> D,
) -> (Vec<D>, Option<String>) {
    (page.items.into_iter().map(document).collect(), page.next)
}

/// Whether a text holds another, whatever the case. `needle` must be lower case.
pub(super) fn contains(text: &str, needle: &str) -> bool {
    text.to_lowercase().contains(needle)
}
