-- Schema 4: what is added to schema 3. Large changes stand in the log compressed; all else is as it was.

UPDATE about SET text = 'formats 1 and 2, see control/store/src/change.rs' WHERE what = 'ops';
