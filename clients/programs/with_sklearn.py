"""scikit-learn: a search over parameters and a forest, in processes."""

from __future__ import annotations

from joblib import parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC

if __name__ == "__main__":
    features, target = make_classification(300, 8, random_state=0)
    for backend in ("loky", "multiprocessing"):
        with parallel_config(backend, n_jobs=2):
            search = GridSearchCV(SVC(), {"C": [0.1, 1, 10], "kernel": ["rbf", "linear"]}, cv=3)
            search.fit(features, target)
            print(search.best_params_, round(search.best_score_, 6))
            forest = RandomForestClassifier(20, random_state=0)
            print(cross_val_score(forest, features, target, cv=4).round(6).tolist())
