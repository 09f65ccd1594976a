// What a view keeps over reloads. Storage may be forbidden or full: the page then forgets, and works.

export const keeper = (view) => ({
  get(key) {
    try {
      return localStorage.getItem(`tensortab.${view}.${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`tensortab.${view}.${key}`, value);
    } catch {
      this.drop(key); // an older text would come back in its place
    }
  },
  drop(key) {
    try {
      localStorage.removeItem(`tensortab.${view}.${key}`);
    } catch {
      // forbidden altogether: nothing is there to come back
    }
  },
});
