-- How a collection is indexed and searched, each as a JSON object of what is not the platform's default.
ALTER TABLE collections
    ADD COLUMN indexing jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN searching jsonb NOT NULL DEFAULT '{}';

-- What a version was cut and weighted by. NULL until it is read; then it stays, as its points do.
ALTER TABLE versions ADD COLUMN indexing jsonb DEFAULT '{}';
ALTER TABLE versions ALTER COLUMN indexing DROP DEFAULT;
